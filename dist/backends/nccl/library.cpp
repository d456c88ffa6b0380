#include "dist/backends/nccl/library.hpp"

#include <dlfcn.h>

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

[[noreturn]] void refuse_library(const std::string& found) {
  throw ConfigError({.where = "backend",
                     .found = found,
                     .expected = {},
                     .fix = "run make build again on this machine, or use backend: mpi or gloo"});
}

/// "2.28.9".
std::string version_text(int code) {
  return fmt::format("{}.{}.{}", code / 10000, code / 100 % 100, code % 100);
}

class Lookup {
 public:
  Lookup() : library_(dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL)) {
    if (!library_) refuse_library(fmt::format("NCCL does not load ({})", dlerror()));
  }

  template <class Function>
  void operator()(const char* name, Function& function) const {
    function = reinterpret_cast<Function>(dlsym(library_, name));
    if (!function) refuse_library(fmt::format("this machine's NCCL has no {}", name));
  }

 private:
  void* library_;  // stays open as long as the process
};

NcclLibrary load_nccl() {
  const Lookup find;
  NcclLibrary nccl;
  find("ncclGetUniqueId", nccl.get_unique_id);
  find("ncclCommInitRankConfig", nccl.comm_init_rank_config);
  find("ncclCommSplit", nccl.comm_split);
  find("ncclCommFinalize", nccl.comm_finalize);
  find("ncclCommDestroy", nccl.comm_destroy);
  find("ncclCommAbort", nccl.comm_abort);
  find("ncclCommGetAsyncError", nccl.comm_get_async_error);
  find("ncclGetErrorString", nccl.get_error_string);
  find("ncclGetLastError", nccl.get_last_error);
  find("ncclBroadcast", nccl.broadcast);
  find("ncclAllReduce", nccl.all_reduce);
  find("ncclAllGather", nccl.all_gather);
  find("ncclSend", nccl.send);
  find("ncclRecv", nccl.recv);
  find("ncclGroupStart", nccl.group_start);
  find("ncclGroupEnd", nccl.group_end);

  // An older library does not know the newer fields of ncclConfig_t; a newer one reads an older
  // struct by its version.
  decltype(&ncclGetVersion) get_version;
  find("ncclGetVersion", get_version);
  int version = 0;
  nccl_check(nccl, get_version(&version), "ncclGetVersion");
  if (version < NCCL_VERSION_CODE)
    refuse_library(fmt::format("NCCL {} is older than the {} of this build", version_text(version),
                               version_text(NCCL_VERSION_CODE)));
  return nccl;
}

}  // namespace

const NcclLibrary& nccl_library() {
  static const NcclLibrary library = load_nccl();
  return library;
}

void nccl_check(const NcclLibrary& nccl, ncclResult_t result, std::string_view call) {
  if (result == ncclSuccess || result == ncclInProgress) return;
  // The words for the kind, then for the case; NCCL has no case for calls outside a communicator.
  std::string text = fmt::format("{} failed [{}", call, nccl.get_error_string(result));
  const char* details = nccl.get_last_error(nullptr);
  if (details && *details) text += fmt::format(": {}", details);
  text = text.substr(0, text.find('\n')) + "]";
  if (result == ncclInvalidUsage) throw NcclRefusal(text);
  throw TransportError(text);
}

}  // namespace lora_dist
