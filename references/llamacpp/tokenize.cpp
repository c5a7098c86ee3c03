// faultline-llamacpp-tokenize MODEL TEXT ADD_SPECIAL PARSE_SPECIAL: cuts a text as llama_tokenize does, its two flags given as 0 or 1.
// TEXT is a file, of any bytes, or - for stdin; of MODEL only the vocabulary is read. Prints one line a token: its id, and the
// bytes of its piece in hex.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "failure.hpp"
#include "llama.h"

static int fail(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  return 2;
}

static bool flag(const std::string& text) {
  if (text != "0" && text != "1") throw Failure(text + ": a flag is 0 or 1");
  return text == "1";
}

static std::string read(const std::string& name) {
  using Bytes = std::istreambuf_iterator<char>;
  if (name == "-") return {Bytes(std::cin), Bytes()};
  std::ifstream file(name, std::ios::binary);
  if (!file) throw Failure(name + ": cannot be read");
  return {Bytes(file), Bytes()};
}

/// What llama_tokenize and llama_token_to_piece share: a negative result is the room that they need, negated.
template <typename T, typename Fill>
static std::vector<T> filled(size_t room, Fill fill) {
  std::vector<T> found(room);
  int32_t count = fill(found.data(), static_cast<int32_t>(found.size()));
  if (count < 0) {
    found.resize(static_cast<size_t>(-static_cast<int64_t>(count)));
    count = fill(found.data(), static_cast<int32_t>(found.size()));
  }
  if (count < 0) throw Failure("the text is too long for llama.cpp");
  found.resize(static_cast<size_t>(count));
  return found;
}

static void tokenize(char** arguments) {
  const std::string path = arguments[1], text = read(arguments[2]);
  const bool add_special = flag(arguments[3]), parse_special = flag(arguments[4]);
  llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
  llama_model* model = llama_model_load_from_file(path.c_str(), params);
  if (model == nullptr) throw refused(path + ": llama.cpp cannot load its vocabulary");
  const llama_vocab* vocab = llama_model_get_vocab(model);
  const auto ids = filled<llama_token>(text.size() + 2, [&](llama_token* out, int32_t room) {
    return llama_tokenize(vocab, text.data(), static_cast<int32_t>(text.size()), out, room, add_special, parse_special);
  });
  for (const llama_token id : ids) {
    const auto piece = filled<char>(32, [&](char* out, int32_t room) { return llama_token_to_piece(vocab, id, out, room, 0, true); });
    std::printf("%d ", id);
    for (const char byte : piece) std::printf("%02x", static_cast<unsigned char>(byte));
    std::printf("\n");
  }
  llama_model_free(model);
}

int main(int argc, char** argv) {
  if (argc != 5) return fail("usage: faultline-llamacpp-tokenize MODEL TEXT ADD_SPECIAL PARSE_SPECIAL");
  setenv("GGML_NO_BACKTRACE", "1", 0);
  llama_log_set(keep_logged_error, nullptr);
  llama_backend_init();
  try {
    tokenize(argv);
  } catch (const std::exception& error) {
    return fail(error.what());
  }
  return 0;
}
