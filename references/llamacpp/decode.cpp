// faultline-llamacpp-decode MODEL [--values NAME FILE]: the weights of a GGUF file as ggml's own decoders give them, in f32.
// A line for each tensor, `ROWS COLUMNS TYPE HASH NAME`, with the hash of docs/trace-format.md in 16 hexadecimal digits; with
// --values one tensor's elements instead, row-major and little-endian, in FILE.
#include <filesystem>

#include "llama.h"
#include "weights.hpp"

/// murmur3's 32-bit finaliser.
static uint32_t fmix32(uint32_t h) {
  h = (h ^ (h >> 16)) * 0x85ebca6b;
  h = (h ^ (h >> 13)) * 0xc2b2ae35;
  return h ^ (h >> 16);
}

/// Sums over elements of their bits, mixed with their flat row-major index.
struct Hash {
  uint32_t low = 0, high = 0, index = 0;

  void add(const float* values, size_t count) {
    for (size_t i = 0; i < count; ++i, ++index) {
      uint32_t bits;
      std::memcpy(&bits, values + i, sizeof bits);
      low += fmix32(bits ^ fmix32(index ^ 0x13198a2e));
      high += fmix32(bits ^ fmix32(index ^ 0x03707344));
    }
  }
};

static void print_hashes(const Gguf& gguf) {
  for (const ggml_tensor* tensor : gguf.tensors()) {
    Hash hash;
    gguf.decode(tensor, [&](const float* values, size_t count) { hash.add(values, count); });
    std::printf("%lld %lld %s %08x%08x %s\n", static_cast<long long>(ggml_nrows(tensor)),
                static_cast<long long>(tensor->ne[0]), lower_case(ggml_type_name(tensor->type)).c_str(), hash.high,
                hash.low, ggml_get_name(tensor));
  }
}

static void write_values(const Gguf& gguf, const std::string& model, const std::string& name, const std::string& out) {
  for (const ggml_tensor* tensor : gguf.tensors()) {
    if (name != ggml_get_name(tensor)) continue;
    File file(out);
    gguf.decode(tensor, [&](const float* values, size_t count) { file.write(values, count * sizeof(float)); });
    return file.close();
  }
  throw Failure(model + ": has no tensor " + name);
}

int main(int argc, char** argv) {
  try {
    const bool values = argc == 5 && std::strcmp(argv[2], "--values") == 0;
    if (argc != 2 && !values) throw Failure("usage: faultline-llamacpp-decode MODEL [--values NAME FILE]");
    llama_log_set(keep_logged_error, nullptr);
    const Gguf gguf(argv[1]);
    if (values) write_values(gguf, argv[1], argv[3], argv[4]);
    else print_hashes(gguf);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
