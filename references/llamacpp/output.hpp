// What a dump folder is made of: checked files, .npy arrays, JSON text.
#pragma once

#include <cctype>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "failure.hpp"

/// A file that is written, or a Failure: a full disk is told, not met later.
class File {
 public:
  explicit File(std::filesystem::path path, const char* mode = "wb")
      : path_(std::move(path)), file_(std::fopen(path_.c_str(), mode)) {
    if (file_ == nullptr) fail();
  }
  File(File&& other) noexcept : path_(std::move(other.path_)), file_(std::exchange(other.file_, nullptr)) {}
  ~File() {
    if (file_ != nullptr) std::fclose(file_);
  }

  void write(const void* data, size_t size) {
    if (size > 0 && std::fwrite(data, 1, size, file_) != size) fail();
  }
  void write(const std::string& text) { write(text.data(), text.size()); }
  void close() {
    if (std::fclose(std::exchange(file_, nullptr)) != 0) fail();
  }

 private:
  [[noreturn]] void fail() const { throw Failure(path_.string() + ": cannot be written: " + std::strerror(errno)); }

  std::filesystem::path path_;
  std::FILE* file_;
};

/// numpy's format 1.0, row-major, for elements like "<f4": all that comes before the data.
/// `ne` is ggml's order, fastest axis first; trailing axes of size 1 are left out.
inline std::string npy_header(const int64_t* ne, int axes, const std::string& element) {
  std::string shape;
  for (int i = axes - 1; i >= 0; --i) shape += std::to_string(ne[i]) + (i > 0 ? ", " : axes == 1 ? "," : "");
  std::string text = "{'descr': '" + element + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  const size_t before = 10;
  text.resize((before + text.size() + 1 + 63) / 64 * 64 - before - 1, ' ');
  text += '\n';
  const char length[2] = {static_cast<char>(text.size() & 255), static_cast<char>(text.size() >> 8)};
  return std::string("\x93NUMPY\x01\x00", 8) + std::string(length, 2) + text;
}

inline std::string lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

inline std::string json(const std::string& text) {
  std::string out = "\"";
  for (const unsigned char c : text) {
    char escaped[8];
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c < 0x20) {
      std::snprintf(escaped, sizeof escaped, "\\u%04x", c);
      out += escaped;
    } else {
      out += static_cast<char>(c);
    }
  }
  return out + '"';
}

template <class Item, class Write>
std::string json_list(const std::vector<Item>& items, Write&& write, const char* between = ", ") {
  std::string out;
  for (const Item& item : items) out += (out.empty() ? "" : between) + write(item);
  return "[" + out + "]";
}

/// `values` are JSON already.
inline std::string json_object(const std::vector<std::pair<std::string, std::string>>& values) {
  const auto member = [](const auto& each) { return json(each.first) + ": " + each.second; };
  const std::string list = json_list(values, member);
  return "{" + list.substr(1, list.size() - 2) + "}";
}
