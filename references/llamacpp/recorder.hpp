// The dump folder, and the callback that fills it.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "cpu.hpp"
#include "ggml-backend.h"
#include "ggml.h"
#include "output.hpp"

/// The dump folder. It is valid once `finish` has put dump.json in place.
class Dump {
 public:
  explicit Dump(std::filesystem::path folder) : folder_(std::move(folder)) {
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    if (error) throw Failure(folder_.string() + ": cannot be made: " + error.message());
    if (!std::filesystem::is_empty(folder_)) throw Failure(folder_.string() + ": holds something already; give a new folder");
  }

  /// Notes a tensor and opens its file, to be filled with the elements, row-major.
  File add(const ggml_tensor* t, size_t step, const std::string& name, const std::string& op, const std::string& weight,
           const std::string& dtype, const std::string& element = "<f4") {
    char file[24];
    std::snprintf(file, sizeof file, "%06zu.npy", entries_.size());
    entries_.push_back("{\"seq\": " + std::to_string(entries_.size()) + ", \"step\": " + std::to_string(step) +
                       ", \"name\": " + json(name) + ", \"op\": " + json(op) + ", \"weight\": " + json(weight) +
                       ", \"file\": " + json(file) + ", \"dtype\": " + json(dtype) + "}");
    File npy(folder_ / file);
    npy.write(npy_header(t->ne, ggml_n_dims(t), element));
    return npy;
  }

  void finish(const std::string& facts) const {
    File file(folder_ / "dump.json.partial");
    file.write("{\"faultline_dump\": 1,\n" + facts + ",\n\"tensors\": " +
               json_list(entries_, [](const std::string& entry) { return "\n" + entry; }, ",") + "}\n");
    file.close();
    std::filesystem::rename(folder_ / "dump.json.partial", folder_ / "dump.json");
  }

 private:
  std::filesystem::path folder_;
  std::vector<std::string> entries_;
};

/// Hears of every node of the graph as it is computed, copies it (its memory is used again soon), and checks that the
/// run is what it claims to be. What is wrong is kept in `failure`: no exception goes through llama.cpp.
class Recorder {
 public:
  std::string failure;
  std::vector<float> output;

  Recorder(Dump& dump, const Cpu& cpu, std::set<std::string> weights, bool logits_only)
      : dump_(dump), cpu_(cpu), weights_(std::move(weights)), logits_only_(logits_only) {}

  void begin(size_t step, size_t keys) {
    step_ = step;
    keys_ = keys;
    output.clear();
  }

  static bool callback(ggml_tensor* t, bool ask, void* self) {
    auto& recorder = *static_cast<Recorder*>(self);
    if (!recorder.failure.empty()) return false;
    try {
      if (ask) return recorder.wants(t);
      recorder.take(t);
    } catch (const std::exception& error) {
      recorder.failure = error.what();
    }
    return true;
  }

 private:
  static bool is_output(const ggml_tensor* t) { return std::strcmp(ggml_get_name(t), "result_output") == 0; }
  /// Probabilities of attention: a softmax with a mask and without sinks.
  static bool is_probs(const ggml_tensor* t) {
    return t->op == GGML_OP_SOFT_MAX && t->src[1] != nullptr && t->src[2] == nullptr;
  }

  bool wants(const ggml_tensor* t) const {
    static const std::set<ggml_op> MOVES = {GGML_OP_NONE, GGML_OP_VIEW, GGML_OP_RESHAPE, GGML_OP_PERMUTE, GGML_OP_TRANSPOSE};
    static const std::set<ggml_op> STORES = {GGML_OP_SET_ROWS, GGML_OP_CPY};
    if (MOVES.count(t->op) > 0 || ggml_is_empty(t)) return false;
    const std::string what = std::string(ggml_get_name(t)) + " (" + ggml_op_desc(t) + ")";
    if (t->op == GGML_OP_FLASH_ATTN_EXT) throw Failure(what + ": flash attention is on; it hides the scores");
    if (t->type != GGML_TYPE_F32 && t->type != GGML_TYPE_I32)
      throw Failure(what + ": is " + ggml_type_name(t->type) + ", not f32; this is no precise reference");
    if (STORES.count(t->op) > 0) return false;
    return !logits_only_ || is_output(t) || is_probs(t);
  }

  void take(const ggml_tensor* t) {
    std::vector<float> values = gather(t);
    if (is_probs(t)) check_probs(t, values);
    if (logits_only_ && !is_output(t)) return;
    const std::string weight = weight_of(t);
    const bool product = t->op == GGML_OP_MUL_MAT || t->op == GGML_OP_MUL_MAT_ID;
    const std::string dtype = product && !weight.empty() ? cpu_.activations(t->src[0]->type) : ggml_type_name(t->type);
    const std::string element = t->type == GGML_TYPE_F32 ? "<f4" : "<i4";
    File file = dump_.add(t, step_, ggml_get_name(t), ggml_op_desc(t), weight, dtype, element);
    file.write(values.data(), values.size() * sizeof(float));
    file.close();
    if (is_output(t)) output = std::move(values);
  }

  /// The elements row-major, whatever their strides. They are 4 bytes each, f32 or i32.
  static std::vector<float> gather(const ggml_tensor* t) {
    std::vector<char> bytes(ggml_nbytes(t));
    ggml_backend_tensor_get(t, bytes.data(), 0, bytes.size());
    std::vector<float> values(ggml_nelements(t));
    float* to = values.data();
    for (int64_t i3 = 0; i3 < t->ne[3]; ++i3)
      for (int64_t i2 = 0; i2 < t->ne[2]; ++i2)
        for (int64_t i1 = 0; i1 < t->ne[1]; ++i1)
          for (int64_t i0 = 0; i0 < t->ne[0]; ++i0)
            std::memcpy(to++, &bytes[i0 * t->nb[0] + i1 * t->nb[1] + i2 * t->nb[2] + i3 * t->nb[3]], sizeof(float));
    return values;
  }

  /// Rows that hold NaN pass: they are the model's, and a finding.
  void check_probs(const ggml_tensor* t, const std::vector<float>& values) const {
    const std::string name = ggml_get_name(t);
    for (auto row = values.begin(); row < values.end(); row += t->ne[0]) {
      const double sum = std::accumulate(row, row + t->ne[0], 0.0);
      if (std::abs(sum - 1) > 1e-4) throw Failure(name + ": a row of it sums to " + std::to_string(sum) + ", not 1");
      if (!std::isnan(sum) && std::any_of(row + keys_, row + t->ne[0], [](float p) { return p != 0; }))
        throw Failure(name + ": a key beyond the " + std::to_string(keys_) + " there are has a probability");
    }
  }

  /// The model's weight among the node's sources. Copies that the scheduler makes are named CPU#weight#0.
  std::string weight_of(const ggml_tensor* t) const {
    for (const ggml_tensor* source : t->src) {
      if (source == nullptr) continue;
      std::string name = ggml_get_name(source);
      const size_t first = name.find('#'), last = name.rfind('#');
      if (first != last) name = name.substr(first + 1, last - first - 1);
      if (weights_.count(name) > 0) return name;
    }
    return "";
  }

  Dump& dump_;
  const Cpu& cpu_;
  const std::set<std::string> weights_;
  const bool logits_only_;
  size_t step_ = 0, keys_ = 0;
};
