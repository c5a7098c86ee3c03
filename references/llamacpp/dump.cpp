// Runs a GGUF model in llama.cpp on the CPU and writes every tensor that it computes to a dump folder
// (references/dump-schema.ts): llama.cpp's own names, layouts and values; f32 cache, no flash attention, one graph node
// at a time.
#include <climits>
#include <cstdlib>
#include <optional>

#include "llama.h"
#include "recorder.hpp"
#include "weights.hpp"

namespace fs = std::filesystem;
using Tokens = std::vector<llama_token>;

static const char* USAGE =
    "usage: faultline-llamacpp-dump --model FILE --out DIR --step ID,ID,... [--step ...] [--greedy N] [--exact] "
    "[--weights all|none] [--logits-only] [--threads N] [--libs DIR]";

struct Options {
  std::string model, libs;
  fs::path out;
  std::vector<Tokens> steps;
  int greedy = 0, threads = 1;
  bool exact = false, weights = false, logits_only = false;
};

static int number(const std::string& text) {
  char* end = nullptr;
  errno = 0;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || errno != 0 || value < 0 || value > INT_MAX)
    throw Failure("\"" + text + "\" is not a whole number from 0 to 2147483647");
  return static_cast<int>(value);
}

static bool choice(const std::string& text, const std::string& no, const std::string& yes) {
  if (text != no && text != yes) throw Failure("\"" + text + "\" is neither " + no + " nor " + yes);
  return text == yes;
}

static Tokens token_list(const std::string& text) {
  Tokens tokens;
  for (size_t at = 0, comma = 0; comma != std::string::npos; at = comma + 1) {
    comma = text.find(',', at);
    tokens.push_back(number(text.substr(at, comma - at)));
  }
  return tokens;
}

static Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&]() -> std::string { return ++i < argc ? argv[i] : throw Failure(name + " wants a value"); };
    if (name == "--model") options.model = value();
    else if (name == "--out") options.out = value();
    else if (name == "--libs") options.libs = value();
    else if (name == "--step") options.steps.push_back(token_list(value()));
    else if (name == "--greedy") options.greedy = number(value());
    else if (name == "--threads") options.threads = std::max(1, number(value()));
    else if (name == "--weights") options.weights = choice(value(), "none", "all");
    else if (name == "--exact") options.exact = true;
    else if (name == "--logits-only") options.logits_only = true;
    else throw Failure(name + " is not an option; " + USAGE);
  }
  if (options.model.empty() || options.out.empty() || options.steps.empty()) throw Failure(USAGE);
  return options;
}

/// Decodes all weights: into the dump, into an F32 model, or both.
static void decode_weights(const Options& options, const Gguf& gguf, Dump& dump, const fs::path& exact) {
  std::optional<File> copy;
  if (options.exact) copy.emplace(gguf.f32_copy(exact.string()));
  for (const ggml_tensor* tensor : gguf.tensors()) {
    const std::string name = ggml_get_name(tensor);
    const std::string type = lower_case(ggml_type_name(tensor->type));
    const size_t size = ggml_nelements(tensor) * sizeof(float);
    std::optional<File> npy;
    if (options.weights) npy.emplace(dump.add(tensor, 0, "weight:" + name, "WEIGHT", name, type));
    gguf.decode(tensor, [&](const float* values, size_t count) {
      if (copy) copy->write(values, count * sizeof(float));
      if (npy) npy->write(values, count * sizeof(float));
    });
    if (npy) npy->close();
    if (copy) copy->write(std::string(GGML_PAD(size, Gguf::ALIGNMENT) - size, '\0'));
  }
  if (copy) copy->close();
}

struct Run {
  std::vector<Tokens> steps;
  std::unique_ptr<llama_model, void (*)(llama_model*)> model{nullptr, llama_model_free};
  std::unique_ptr<llama_context, void (*)(llama_context*)> context{nullptr, llama_free};
};

/// A context for so many tokens in all: everything on the CPU, everything f32.
static void open_run(Run& run, const Options& options, const std::string& file, Recorder& recorder) {
  llama_model_params model = llama_model_default_params();
  model.n_gpu_layers = 0;
  model.use_extra_bufts = false;
  run.model.reset(llama_model_load_from_file(file.c_str(), model));
  if (run.model == nullptr) throw refused(options.model + ": llama.cpp cannot load it");

  llama_context_params context = llama_context_default_params();
  uint32_t total = options.greedy, longest = 1;
  for (const Tokens& step : options.steps) {
    total += step.size();
    longest = std::max<uint32_t>(longest, step.size());
  }
  context.n_ctx = total;
  context.n_batch = context.n_ubatch = longest;
  context.n_threads = context.n_threads_batch = options.threads;
  context.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  context.type_k = context.type_v = GGML_TYPE_F32;
  context.offload_kqv = context.op_offload = false;
  context.cb_eval = Recorder::callback;
  context.cb_eval_user_data = &recorder;
  run.context.reset(llama_init_from_model(run.model.get(), context));
  if (run.context == nullptr)
    throw refused(options.model + ": llama.cpp cannot make a context of " + std::to_string(total) + " tokens");
}

/// One forward pass of these tokens after `past` others; every row gives logits.
static void decode(Run& run, Recorder& recorder, Tokens tokens, size_t past) {
  const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(run.model.get()));
  llama_batch batch = llama_batch_init(static_cast<int32_t>(tokens.size()), 0, 1);
  const std::unique_ptr<llama_batch, void (*)(llama_batch*)> owner(&batch, [](llama_batch* b) { llama_batch_free(*b); });
  for (const llama_token token : tokens) {
    if (token >= vocabulary)
      throw Failure("token " + std::to_string(token) + " is not in the model's vocabulary of " + std::to_string(vocabulary));
    const int32_t i = batch.n_tokens++;
    batch.token[i] = token;
    batch.pos[i] = static_cast<llama_pos>(past + i);
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = 1;
  }
  recorder.begin(run.steps.size(), past + tokens.size());
  const std::string at = " at step " + std::to_string(run.steps.size());
  const int status = llama_decode(run.context.get(), batch);
  if (!recorder.failure.empty()) throw Failure(recorder.failure);
  if (status != 0) throw refused("llama_decode gave " + std::to_string(status) + at);
  const std::vector<float>& output = recorder.output;
  if (output.size() != tokens.size() * vocabulary ||
      std::memcmp(output.data(), llama_get_logits(run.context.get()), output.size() * sizeof(float)) != 0)
    throw Failure("result_output is not what llama_get_logits gives" + at);
  run.steps.push_back(std::move(tokens));
}

/// The first of the largest logits of the last row.
static llama_token greedy(const std::vector<float>& output, size_t rows) {
  const auto row = output.end() - output.size() / rows;
  return static_cast<llama_token>(std::max_element(row, output.end()) - row);
}

/// What a function without parameters says, where this version of llama.cpp has it.
static std::string ask(const char* name) {
  auto* function = find_function<const char*()>(name);
  return function == nullptr ? "unknown" : function();
}

static std::string facts(const Options& options, const Gguf& gguf, const Cpu& cpu, const Run& run) {
  llama_context* context = run.context.get();
  const std::string settings = json_object({
      {"exact", options.exact ? "true" : "false"},
      {"flash_attention", "false"},
      {"kv", json("f32")},
      {"repack", "false"},
      {"threads", std::to_string(llama_n_threads(context))},
      {"n_ctx", std::to_string(llama_n_ctx(context))},
      {"n_ubatch", std::to_string(llama_n_ubatch(context))},
      {"backend", json(cpu.library)},
      {"system_info", json(llama_print_system_info())},
  });
  const std::string producer = json_object({
      {"name", json("llama.cpp")},
      {"version", json(ask("llama_version") + ", ggml " + ask("ggml_version") + " " + ask("ggml_commit"))},
      {"device", json("cpu: " + cpu.description)},
      {"dtype", json("f32")},
      {"settings", settings},
  });
  const std::string model = json_object({
      {"file", json(fs::path(options.model).filename().string())},
      {"architecture", json(gguf.text("general.architecture"))},
  });
  size_t past = 0;
  const std::string steps = json_list(run.steps, [&](const Tokens& tokens) {
    const std::string ids = json_list(tokens, [](llama_token token) { return std::to_string(token); });
    const std::string step = json_object({{"pos_start", std::to_string(past)}, {"tokens", ids}});
    past += tokens.size();
    return step;
  });
  return "\"producer\": " + producer + ",\n\"names\": \"llama.cpp\",\n\"model\": " + model +
         ",\n\"prompt\": null,\n\"steps\": " + steps;
}

/// A file that goes when the program is done with it, however that ends.
struct Passing {
  const fs::path path;
  ~Passing() {
    std::error_code error;
    fs::remove(path, error);
  }
};

static void dump_model(const Options& options) {
  Dump dump(options.out);
  const Cpu cpu(options.libs.empty() ? fs::path(library_of(llama_backend_init)).parent_path().string() : options.libs);
  llama_backend_init();
  const Gguf gguf(options.model);
  Recorder recorder(dump, cpu, gguf.names(), options.logits_only);
  const Passing exact{options.out / "exact.gguf"};
  if (options.exact || options.weights) decode_weights(options, gguf, dump, exact.path);
  Run run;
  open_run(run, options, options.exact ? exact.path.string() : options.model, recorder);

  size_t past = 0;
  const size_t total = options.steps.size() + options.greedy;
  for (size_t step = 0; step < total; ++step) {
    const bool given = step < options.steps.size();
    const Tokens next = given ? options.steps[step] : Tokens{greedy(recorder.output, run.steps.back().size())};
    decode(run, recorder, next, past);
    past += next.size();
    std::printf("%zu %zu\n", run.steps.size(), total);
    std::fflush(stdout);
  }
  dump.finish(facts(options, gguf, cpu, run));
}

int main(int argc, char** argv) {
  setenv("GGML_NO_BACKTRACE", "1", 0);
  llama_log_set(keep_logged_error, nullptr);
  try {
    dump_model(parse(argc, argv));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
