// A GGUF file's metadata, and its weights decoded to f32 by ggml's own decoders, a piece at a time.
#pragma once

#include <algorithm>
#include <memory>
#include <set>

#include "ggml.h"
#include "gguf.h"
#include "output.hpp"

class Gguf {
 public:
  /// Reads the header only.
  explicit Gguf(const std::string& path) : path_(path) {
    ggml_context* tensors = nullptr;
    meta_.reset(gguf_init_from_file(path.c_str(), {/*no_alloc =*/true, &tensors}));
    tensors_.reset(tensors);
    if (meta_ == nullptr) throw refused(path + ": is not a GGUF file that llama.cpp can read");
    const int64_t parts = gguf_find_key(meta_.get(), "split.count");
    if (parts >= 0 && gguf_get_kv_type(meta_.get(), parts) == GGUF_TYPE_UINT16 && gguf_get_val_u16(meta_.get(), parts) > 1)
      throw Failure(path + ": is one of several parts; join them first with llama-gguf-split --merge");
  }

  std::string text(const char* key) const {
    const int64_t id = gguf_find_key(meta_.get(), key);
    return id >= 0 && gguf_get_kv_type(meta_.get(), id) == GGUF_TYPE_STRING ? gguf_get_val_str(meta_.get(), id) : "";
  }

  std::vector<const ggml_tensor*> tensors() const {
    std::vector<const ggml_tensor*> all;
    for (auto* t = ggml_get_first_tensor(tensors_.get()); t != nullptr; t = ggml_get_next_tensor(tensors_.get(), t))
      all.push_back(t);
    return all;
  }

  std::set<std::string> names() const {
    std::set<std::string> all;
    for (const ggml_tensor* t : tensors()) all.insert(ggml_get_name(t));
    return all;
  }

  /// Calls `take(values, count)` with the tensor's elements in order, about a million at a time.
  template <class Take>
  void decode(const ggml_tensor* tensor, Take&& take) const {
    const auto to_float = ggml_get_type_traits(tensor->type)->to_float;
    if (to_float == nullptr && tensor->type != GGML_TYPE_F32)
      throw Failure(path_ + ": " + ggml_get_name(tensor) + " is " + ggml_type_name(tensor->type) + ", which has no decoder");
    const int64_t columns = tensor->ne[0], rows = ggml_nrows(tensor);
    const int64_t at_once = std::max<int64_t>(1, (1 << 20) / std::max<int64_t>(1, columns));
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path_.c_str(), "rb"), std::fclose);
    const int64_t id = gguf_find_tensor(meta_.get(), ggml_get_name(tensor));
    const size_t start = gguf_get_data_offset(meta_.get()) + gguf_get_tensor_offset(meta_.get(), id);
    if (file == nullptr || fseeko(file.get(), static_cast<off_t>(start), SEEK_SET) != 0)
      throw Failure(path_ + ": cannot be read: " + std::strerror(errno));
    std::vector<char> blocks;
    std::vector<float> values;
    for (int64_t row = 0; row < rows; row += at_once) {
      const int64_t count = std::min(at_once, rows - row) * columns;
      blocks.resize(ggml_row_size(tensor->type, columns) * (count / columns));
      values.resize(count);
      if (std::fread(blocks.data(), 1, blocks.size(), file.get()) != blocks.size())
        throw Failure(path_ + ": ends inside " + ggml_get_name(tensor) + "; fetch the file again");
      if (to_float != nullptr) to_float(blocks.data(), values.data(), count);
      else std::memcpy(values.data(), blocks.data(), blocks.size());
      take(values.data(), static_cast<size_t>(count));
    }
  }

  /// Starts a file with the same metadata and tensors, all of them F32; the data are to be appended in order, each
  /// tensor padded to `ALIGNMENT`.
  File f32_copy(const std::string& path) const {
    const std::unique_ptr<gguf_context, void (*)(gguf_context*)> copy(gguf_init_empty(), gguf_free);
    gguf_set_kv(copy.get(), meta_.get());
    gguf_remove_key(copy.get(), "general.alignment");
    gguf_set_val_u32(copy.get(), "general.file_type", 0);
    for (const ggml_tensor* t : tensors()) {
      gguf_add_tensor(copy.get(), t);
      gguf_set_tensor_type(copy.get(), ggml_get_name(t), GGML_TYPE_F32);
    }
    if (!gguf_write_to_file(copy.get(), path.c_str(), /*only_meta =*/true)) throw refused(path + ": cannot be written");
    return File(path, "ab");
  }
  static constexpr size_t ALIGNMENT = GGUF_DEFAULT_ALIGNMENT;

 private:
  std::string path_;
  std::unique_ptr<gguf_context, void (*)(gguf_context*)> meta_{nullptr, gguf_free};
  std::unique_ptr<ggml_context, void (*)(ggml_context*)> tensors_{nullptr, ggml_free};
};
