// The CPU backend of whatever llama.cpp the program is linked with.
#pragma once

#include <dlfcn.h>

#include <filesystem>
#include <string>

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "output.hpp"

/// A function of whatever library is loaded, or nullptr: what not every version of llama.cpp has.
template <class Function>
Function* find_function(const char* name, void* library = RTLD_DEFAULT) {
  return reinterpret_cast<Function*>(dlsym(library, name));
}

/// Path of the library that a function lies in.
template <class Function>
std::string library_of(Function* function) {
  Dl_info info = {};
  return dladdr(reinterpret_cast<void*>(function), &info) != 0 ? info.dli_fname : "";
}

/// The CPU backend, and nothing else, so that nothing else computes.
struct Cpu {
  std::string library, description;
  decltype(ggml_get_type_traits_cpu)* traits = nullptr;

  explicit Cpu(const std::string& libs) {
    if (ggml_backend_reg_count() == 0) ggml_backend_load_all_from_path(libs.c_str());
    ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (device == nullptr) throw Failure(libs + ": holds no CPU backend of ggml (libggml-cpu*)");
    ggml_backend_reg_t own = ggml_backend_dev_backend_reg(device);
    for (size_t i = ggml_backend_reg_count(); i-- > 0;)
      if (ggml_backend_reg_get(i) != own) ggml_backend_unload(ggml_backend_reg_get(i));
    description = ggml_backend_dev_description(device);
    const std::filesystem::path path = library_of(ggml_backend_reg_get_proc_address(own, "ggml_backend_set_n_threads"));
    library = path.filename().string();
    traits = find_function<decltype(ggml_get_type_traits_cpu)>("ggml_get_type_traits_cpu", dlopen(path.c_str(), RTLD_LAZY));
    if (traits == nullptr) throw Failure(library + ": does not tell what it computes in (ggml_get_type_traits_cpu)");
  }

  /// What a matrix product turns its activations into before it multiplies them with weights of that type.
  /// (On ARM without f16 arithmetic, llamafile's kernels leave them f32 for f16 weights and several tokens.)
  std::string activations(ggml_type weights) const {
    return lower_case(ggml_type_name(traits(weights)->vec_dot_type));
  }
};
