// NCCL's functions, looked up at run time in the library that LibTorch's CUDA half was loaded with,
// so that the program starts without either where there is no GPU. Types come from nccl.h.
//
// The folder is compiled with LORA_DIST_CUDA only.
#pragma once

#include <nccl.h>

#include <string_view>

#include "dist/backends/transport.hpp"

namespace lora_dist {

struct NcclLibrary {
  decltype(&ncclGetUniqueId) get_unique_id;
  decltype(&ncclCommInitRankConfig) comm_init_rank_config;
  decltype(&ncclCommSplit) comm_split;
  decltype(&ncclCommFinalize) comm_finalize;
  decltype(&ncclCommDestroy) comm_destroy;
  decltype(&ncclCommAbort) comm_abort;
  decltype(&ncclCommGetAsyncError) comm_get_async_error;
  decltype(&ncclGetErrorString) get_error_string;
  decltype(&ncclGetLastError) get_last_error;
  decltype(&ncclBroadcast) broadcast;
  decltype(&ncclAllReduce) all_reduce;
  decltype(&ncclAllGather) all_gather;
  decltype(&ncclSend) send;
  decltype(&ncclRecv) recv;
  decltype(&ncclGroupStart) group_start;
  decltype(&ncclGroupEnd) group_end;
};

/// The functions of this process's libnccl.so.2.
/// Errors  ConfigError: it does not load, or is older than the one this program was built with.
const NcclLibrary& nccl_library();

/// NCCL refused the request itself: two ranks on one GPU.
class NcclRefusal : public TransportError {
 public:
  using TransportError::TransportError;
};

/// Errors  TransportError with the name of the call and NCCL's own words. A call that is still
/// under way is no error.
void nccl_check(const NcclLibrary& nccl, ncclResult_t result, std::string_view call);

}  // namespace lora_dist
