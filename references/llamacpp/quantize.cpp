// faultline-llamacpp-quantize IN OUT TYPE: a GGUF file in another block type or recipe, by llama.cpp's own quantiser.
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include "failure.hpp"
#include "llama.h"

/// A block type for every matrix (pure), or a recipe as llama.cpp ships it, whose matrices are of several types.
struct Target {
  llama_ftype type;
  bool pure;
};

static const std::map<std::string, Target> TARGETS = {
    {"f32", {LLAMA_FTYPE_ALL_F32, true}},
    {"f16", {LLAMA_FTYPE_MOSTLY_F16, true}},
    {"bf16", {LLAMA_FTYPE_MOSTLY_BF16, true}},
    {"q4_0", {LLAMA_FTYPE_MOSTLY_Q4_0, true}},
    {"q4_1", {LLAMA_FTYPE_MOSTLY_Q4_1, true}},
    {"q5_0", {LLAMA_FTYPE_MOSTLY_Q5_0, true}},
    {"q5_1", {LLAMA_FTYPE_MOSTLY_Q5_1, true}},
    {"q8_0", {LLAMA_FTYPE_MOSTLY_Q8_0, true}},
    {"q2_k", {LLAMA_FTYPE_MOSTLY_Q2_K, true}},
    {"q3_k", {LLAMA_FTYPE_MOSTLY_Q3_K_M, true}},
    {"q4_k", {LLAMA_FTYPE_MOSTLY_Q4_K_M, true}},
    {"q5_k", {LLAMA_FTYPE_MOSTLY_Q5_K_M, true}},
    {"q6_k", {LLAMA_FTYPE_MOSTLY_Q6_K, true}},
    {"iq4_nl", {LLAMA_FTYPE_MOSTLY_IQ4_NL, true}},
    {"q3_k_s", {LLAMA_FTYPE_MOSTLY_Q3_K_S, false}},
    {"q3_k_m", {LLAMA_FTYPE_MOSTLY_Q3_K_M, false}},
    {"q3_k_l", {LLAMA_FTYPE_MOSTLY_Q3_K_L, false}},
    {"q4_k_s", {LLAMA_FTYPE_MOSTLY_Q4_K_S, false}},
    {"q4_k_m", {LLAMA_FTYPE_MOSTLY_Q4_K_M, false}},
    {"q5_k_s", {LLAMA_FTYPE_MOSTLY_Q5_K_S, false}},
    {"q5_k_m", {LLAMA_FTYPE_MOSTLY_Q5_K_M, false}},
    {"iq4_xs", {LLAMA_FTYPE_MOSTLY_IQ4_XS, false}},
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
  const auto target = TARGETS.find(name);
  if (target == TARGETS.end()) {
    std::string known;
    for (const auto& [each, _] : TARGETS) known += " " + each;
    return fail(name + ": no such block type; there are" + known);
  }
  setenv("GGML_NO_BACKTRACE", "1", 0);
  llama_log_set(keep_logged_error, nullptr);
  llama_backend_init();
  llama_model_quantize_params params = llama_model_quantize_default_params();
  params.ftype = target->second.type;
  params.allow_requantize = true;
  params.pure = target->second.pure;
  std::error_code error;
  if (llama_model_quantize(in.c_str(), partial.c_str(), &params) != 0) {
    std::filesystem::remove(partial, error);
    return fail(refused(in + " to " + out + ": llama.cpp cannot quantise it").what());
  }
  std::filesystem::rename(partial, out, error);
  return error ? fail(out + ": cannot be written: " + error.message()) : 0;
}
