// faultline-llamacpp-bench --model FILE --device cpu|vulkan --prompt ID,ID,... --decode ID,ID,... [--threads N]: how long llama.cpp as
// shipped takes for these tokens. Prints what it runs on as a line of JSON, then one for each line that it reads:
// {"prefill_ms": T, "decode_ms": [T, ...], "next": [ID, ...]}, of the prompt in one pass and of each further token in a pass of its
// own, and the likeliest token after each. A time ends when the last row's logits are in memory; a round begins with an empty cache. Settings are llama.cpp's defaults: f16 cache, its own
// choice of flash attention, activations quantised on the CPU, logits of the last row only.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <sstream>

#include "ggml-backend.h"
#include "llama.h"
#include "cpu.hpp"

using Tokens = std::vector<llama_token>;

/// What llama.cpp says of its choices while it loads; nothing in its interface tells them.
static std::string flash_attention = "auto", offloaded = "unknown";

static void listen(ggml_log_level level, const char* text, void*) {
  if (level == GGML_LOG_LEVEL_ERROR && logged_error.empty()) logged_error.assign(text, std::strcspn(text, "\n"));
  const std::string line(text, std::strcspn(text, "\n"));
  const auto after = [&](const char* words) {
    const size_t at = line.find(words);
    return at == std::string::npos ? std::string() : line.substr(at + std::strlen(words));
  };
  for (const char* words : {"Flash Attention was auto, set to ", "Flash Attention not supported, set to "})
    if (const std::string rest = after(words); !rest.empty()) flash_attention = rest;
  if (const std::string rest = after("offloaded "); !rest.empty()) offloaded = rest.substr(0, rest.find(' '));
}

struct Options {
  std::string model, device;
  Tokens prompt, decode;
  int threads = 0;
};

static Tokens token_list(const std::string& text) {
  Tokens tokens;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) tokens.push_back(std::atoi(part.c_str()));
  return tokens;
}

static Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--model") options.model = value;
    else if (name == "--device") options.device = value;
    else if (name == "--prompt") options.prompt = token_list(value);
    else if (name == "--decode") options.decode = token_list(value);
    else if (name == "--threads") options.threads = std::atoi(value.c_str());
    else throw Failure(name + " is not an option of faultline-llamacpp-bench");
  }
  if (options.model.empty() || options.prompt.empty() || (options.device != "cpu" && options.device != "vulkan"))
    throw Failure("usage: faultline-llamacpp-bench --model FILE --device cpu|vulkan --prompt IDS --decode IDS [--threads N]");
  return options;
}

/// The first device of that kind. Backends of other kinds stay idle: no layer is given to them.
static ggml_backend_dev_t find_device(const std::string& kind) {
  for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
    ggml_backend_dev_t device = ggml_backend_dev_get(i);
    const std::string backend = lower_case(ggml_backend_reg_name(ggml_backend_dev_backend_reg(device)));
    if (backend == kind) return device;
  }
  throw Failure("llama.cpp finds no device of its " + kind + " backend" +
                (kind == "vulkan" ? "; a software adapter is taken only with GGML_VK_VISIBLE_DEVICES=0" : ""));
}

class Bench {
 public:
  explicit Bench(const Options& options) : options_(options), device_(find_device(options.device)) {
    const bool cpu = options.device == "cpu";
    ggml_backend_dev_t devices[] = {cpu ? nullptr : device_, nullptr};
    llama_model_params model = llama_model_default_params();
    model.devices = devices;
    model.n_gpu_layers = cpu ? 0 : 999;
    model_.reset(llama_model_load_from_file(options.model.c_str(), model));
    if (model_ == nullptr) throw refused(options.model + ": llama.cpp cannot load it");
    const int layers = llama_model_n_layer(model_.get()) + 1;  // the head counts as one
    const std::string all = std::to_string(layers) + "/" + std::to_string(layers);
    if (!cpu && offloaded != all) throw Failure("llama.cpp put " + offloaded + " layers on " + name() + ", not " + all);

    llama_context_params context = llama_context_default_params();
    context.n_ctx = options.prompt.size() + options.decode.size();
    if (options.threads > 0) context.n_threads = context.n_threads_batch = options.threads;
    context_.reset(llama_init_from_model(model_.get(), context));
    if (context_ == nullptr) throw refused(options.model + ": llama.cpp cannot make a context");
  }

  std::string facts() const {
    return json_object({
        {"engine", json("llama.cpp")},
        {"device", json(name())},
        {"settings", json("threads " + std::to_string(llama_n_threads(context_.get())) + ", layers on the device " +
                          (options_.device == "cpu" ? "0" : offloaded) + ", flash attention " + flash_attention)},
    });
  }

  std::string round() {
    llama_memory_clear(llama_get_memory(context_.get()), false);
    std::vector<llama_token> next;
    const double prefill = pass(options_.prompt, next);
    std::vector<double> steps;
    for (const llama_token token : options_.decode) steps.push_back(pass({token}, next));
    const auto number = [](auto value) { return std::to_string(value); };
    return json_object(
        {{"prefill_ms", number(prefill)}, {"decode_ms", json_list(steps, number)}, {"next", json_list(next, number)}});
  }

 private:
  std::string name() const {
    return std::string(ggml_backend_dev_name(device_)) + ": " + ggml_backend_dev_description(device_);
  }

  /// Milliseconds of one forward pass, up to the last row's logits. The token that they like best is added to `next`.
  double pass(Tokens tokens, Tokens& next) {
    const auto started = std::chrono::steady_clock::now();
    const int status = llama_decode(context_.get(), llama_batch_get_one(tokens.data(), static_cast<int32_t>(tokens.size())));
    if (status != 0) throw refused("llama_decode gave " + std::to_string(status));
    const float* logits = llama_get_logits_ith(context_.get(), -1);
    if (logits == nullptr) throw Failure("llama.cpp gave no logits");
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - started;
    const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model_.get()));
    next.push_back(static_cast<llama_token>(std::max_element(logits, logits + vocabulary) - logits));
    return took.count();
  }

  Options options_;
  ggml_backend_dev_t device_;
  std::unique_ptr<llama_model, void (*)(llama_model*)> model_{nullptr, llama_model_free};
  std::unique_ptr<llama_context, void (*)(llama_context*)> context_{nullptr, llama_free};
};

/// The folder of the backends: they lie beside libllama.
static std::string backends() {
  const std::string library = library_of(llama_backend_init);
  return std::filesystem::path(library).parent_path().string();
}

int main(int argc, char** argv) {
  setenv("GGML_NO_BACKTRACE", "1", 0);
  llama_log_set(listen, nullptr);
  try {
    const Options options = parse(argc, argv);
    if (ggml_backend_reg_count() == 0) ggml_backend_load_all_from_path(backends().c_str());
    llama_backend_init();
    Bench bench(options);
    std::cout << bench.facts() << std::endl;
    for (std::string line; std::getline(std::cin, line);) std::cout << bench.round() << std::endl;
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
