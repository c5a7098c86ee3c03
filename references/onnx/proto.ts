/** The part of ONNX's file format that a graph needs (onnx/onnx.proto; field numbers are the standard's), and its encoder. */
import protobuf from "protobufjs";

const ONNX = `
  syntax = "proto2";
  message ModelProto { optional int64 ir_version = 1; optional GraphProto graph = 7; repeated OperatorSetIdProto opset_import = 8; }
  message OperatorSetIdProto { optional string domain = 1; optional int64 version = 2; }
  message GraphProto {
    repeated NodeProto node = 1; optional string name = 2; repeated TensorProto initializer = 5;
    repeated ValueInfoProto input = 11; repeated ValueInfoProto output = 12;
  }
  message NodeProto {
    repeated string input = 1; repeated string output = 2; optional string name = 3; optional string op_type = 4;
    repeated AttributeProto attribute = 5; optional string domain = 7;
  }
  message AttributeProto { optional string name = 1; optional float f = 2; optional int64 i = 3; repeated int64 ints = 8; optional int32 type = 20; }
  message TensorProto {
    repeated int64 dims = 1; optional int32 data_type = 2; repeated float float_data = 4 [packed = true];
    repeated int64 int64_data = 7 [packed = true]; optional string name = 8;
    repeated StringStringEntryProto external_data = 13; optional int32 data_location = 14;
  }
  message StringStringEntryProto { optional string key = 1; optional string value = 2; }
  message ValueInfoProto { optional string name = 1; optional TypeProto type = 2; }
  message TypeProto { optional TensorTypeProto tensor_type = 1; }
  message TensorTypeProto { optional int32 elem_type = 1; optional TensorShapeProto shape = 2; }
  message TensorShapeProto { repeated Dimension dim = 1; }
  message Dimension { optional int64 dim_value = 1; optional string dim_param = 2; }
`;

/** TensorProto.DataType. */
export const ELEMENT = { float: 1, uint8: 2, int32: 6, int64: 7, bool: 9 } as const;
export type Element = keyof typeof ELEMENT;

export interface Attribute {
  readonly name: string;
  /** AttributeProto.AttributeType: 1 float, 2 int, 7 ints. */
  readonly type: 1 | 2 | 7;
  readonly f?: number;
  readonly i?: number;
  readonly ints?: readonly number[];
}

export const float = (name: string, f: number): Attribute => ({ name, type: 1, f });
export const int = (name: string, i: number): Attribute => ({ name, type: 2, i });
export const ints = (name: string, values: readonly number[]): Attribute => ({ name, type: 7, ints: values });

export interface Node {
  readonly op_type: string;
  readonly name: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly attribute: readonly Attribute[];
  /** Of the operator; the standard's where absent. */
  readonly domain?: string;
}

export interface Initializer {
  readonly name: string;
  readonly dims: readonly number[];
  readonly data_type: number;
  readonly float_data?: readonly number[];
  readonly int64_data?: readonly number[];
  /** Key and value pairs; with `data_location` 1 the values are in the "file" `location` names, which may be memory of ours. */
  readonly external_data?: readonly { readonly key: string; readonly value: string }[];
  readonly data_location?: number;
}

export interface Graph {
  readonly name: string;
  readonly node: readonly Node[];
  readonly initializer: readonly Initializer[];
  readonly input: readonly object[];
  readonly output: readonly object[];
}

/** A graph's input or output. An axis whose length differs between runs has a name; without a shape even the rank is open. */
export function valueInfo(name: string, element: Element, shape?: readonly (number | string)[]): object {
  const dim = shape?.map((axis) => (typeof axis === "number" ? { dim_value: axis } : { dim_param: axis }));
  const tensor_type = { elem_type: ELEMENT[element], ...(dim === undefined ? {} : { shape: { dim } }) };
  return { name, type: { tensor_type } };
}

/** IR 11 is the one that belongs to operator set 23 (ONNX, docs/Versioning.md). */
const IR_VERSION = 11;
const OPERATOR_SET = 23;

/** The bytes of an .onnx file. */
export function encodeModel(graph: Graph): Uint8Array {
  const type = protobuf.parse(ONNX, { keepCase: true }).root.lookupType("ModelProto");
  const others = new Set(graph.node.flatMap(({ domain }) => domain ?? []));
  const opset_import = [
    { domain: "", version: OPERATOR_SET },
    ...[...others].map((domain) => ({ domain, version: 1 })),
  ];
  const model = { ir_version: IR_VERSION, opset_import, graph };
  const wrong = type.verify(model);
  if (wrong !== null) throw new Error(`ONNX model: ${wrong}`);
  return type.encode(model).finish();
}
