// What ends a program: one line, with llama.cpp's own reason where it gave one.
#pragma once

#include <cstring>
#include <stdexcept>
#include <string>

#include "ggml.h"

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The first error that llama.cpp logged; those that follow only say that it failed.
inline std::string logged_error;

/// To be set with llama_log_set.
inline void keep_logged_error(ggml_log_level level, const char* text, void*) {
  if (level == GGML_LOG_LEVEL_ERROR && logged_error.empty()) logged_error.assign(text, std::strcspn(text, "\n"));
}

/// A failure of llama.cpp's.
inline Failure refused(const std::string& what) { return Failure(what + (logged_error.empty() ? "" : ": " + logged_error)); }
