// faultline-llamacpp-quantize IN OUT TYPE: every matrix of a GGUF file in one block type, by llama.cpp's own quantiser.
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include "failure.hpp"
#include "llama.h"

static const std::map<std::string, llama_ftype> TYPES = {
    {"f32", LLAMA_FTYPE_ALL_F32},        {"f16", LLAMA_FTYPE_MOSTLY_F16},      {"bf16", LLAMA_FTYPE_MOSTLY_BF16},
    {"q4_0", LLAMA_FTYPE_MOSTLY_Q4_0},   {"q4_1", LLAMA_FTYPE_MOSTLY_Q4_1},    {"q5_0", LLAMA_FTYPE_MOSTLY_Q5_0},
    {"q5_1", LLAMA_FTYPE_MOSTLY_Q5_1},   {"q8_0", LLAMA_FTYPE_MOSTLY_Q8_0},    {"q2_k", LLAMA_FTYPE_MOSTLY_Q2_K},
    {"q3_k", LLAMA_FTYPE_MOSTLY_Q3_K_M}, {"q4_k", LLAMA_FTYPE_MOSTLY_Q4_K_M},  {"q5_k", LLAMA_FTYPE_MOSTLY_Q5_K_M},
    {"q6_k", LLAMA_FTYPE_MOSTLY_Q6_K},   {"iq4_nl", LLAMA_FTYPE_MOSTLY_IQ4_NL},
};

static int fail(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  return 2;
}

int main(int argc, char** argv) {
  if (argc != 4) return fail("usage: faultline-llamacpp-quantize IN OUT TYPE");
  const std::string in = argv[1], out = argv[2], partial = out + ".partial";
  std::string name = argv[3];
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto type = TYPES.find(name);
  if (type == TYPES.end()) {
    std::string known;
    for (const auto& [each, _] : TYPES) known += " " + each;
    return fail(name + ": no such block type; there are" + known);
  }
  setenv("GGML_NO_BACKTRACE", "1", 0);
  llama_log_set(keep_logged_error, nullptr);
  llama_backend_init();
  llama_model_quantize_params params = llama_model_quantize_default_params();
  params.ftype = type->second;
  params.allow_requantize = true;
  params.pure = true;
  std::error_code error;
  if (llama_model_quantize(in.c_str(), partial.c_str(), &params) != 0) {
    std::filesystem::remove(partial, error);
    return fail(refused(in + " to " + out + ": llama.cpp cannot quantise it").what());
  }
  std::filesystem::rename(partial, out, error);
  return error ? fail(out + ": cannot be written: " + error.message()) : 0;
}
