// NCCL, between the GPUs of CUDA builds: a name in every build, so that asking for it says what is
// missing. The collectives are in dist/backends/nccl/; here the ranks come together.
//
// Rank 0 makes NCCL's id and leaves it where the ranks meet. Ranks of one host stay with NCCL where
// other backends give way to shared memory: what is large lies on the GPUs, and what lies on the
// host (texts, losses) is small and travels as a copy.
#include "core/base/error.hpp"
#include "dist/backends/backend.hpp"

#ifdef LORA_DIST_CUDA
#include "dist/backends/checked_communicator.hpp"
#include "dist/backends/meeting.hpp"
#include "dist/backends/nccl/library.hpp"
#include "dist/backends/nccl/transport.hpp"
#endif

namespace lora_dist {

#ifndef LORA_DIST_CUDA

bool is_built_with_nccl() { return false; }

std::unique_ptr<Communicator> make_nccl_backend(const BackendOptions&) {
  throw ConfigError(
      {.where = "backend",
       .found = "'nccl' is not in this build, which has no CUDA",
       .expected = {},
       .fix = "use backend: mpi or gloo, or build with the `cuda` preset on a machine with a GPU"});
}

#else

namespace {

void require_gpu(const BackendOptions& options) {
  if (options.device.is_cuda()) return;
  const WorldInfo& world = options.world;
  throw ConfigError({.where = "backend",
                     .found = fmt::format("'nccl' with rank {} on {}, which computes on the CPU",
                                          world.rank, world.host),
                     .expected = "a GPU for every rank",
                     .fix = "use backend: mpi or gloo, or look for the GPU with nvidia-smi"});
}

/// Rank 0's id on every rank. Blocks until it is there, at most startup_timeout_s.
std::string share_id(c10d::Store& store, int rank) {
  constexpr const char* kKey = "nccl-id";
  if (rank != 0) {
    const std::vector<uint8_t> id = store.get(kKey);
    return {id.begin(), id.end()};
  }
  const std::string id = new_nccl_id();
  store.set(kKey, std::vector<uint8_t>(id.begin(), id.end()));
  return id;
}

std::unique_ptr<Communicator> come_together_over_nccl(const BackendOptions& options) {
  const Deadline deadline = deadline_in(options.startup_timeout_s);
  const MeetingPoint point = meet(options);
  BackendOptions without_shared_memory = options;
  without_shared_memory.shared_memory = false;
  return std::make_unique<CheckedCommunicator>(
      make_nccl_transport({.id = share_id(*point.store, options.world.rank),
                           .rank = options.world.rank,
                           .world_size = options.world.world_size,
                           .device = options.device,
                           .session = point.session},
                          deadline),
      without_shared_memory);
}

}  // namespace

bool is_built_with_nccl() { return true; }

std::unique_ptr<Communicator> make_nccl_backend(const BackendOptions& options) {
  require_gpu(options);
  try {
    return come_together_over_nccl(options);
  } catch (const Error&) {
    throw;
  } catch (const NcclRefusal& refusal) {
    throw ConfigError({.where = "backend",
                       .found = fmt::format("NCCL refuses rank {} on {}: {}", options.world.rank,
                                            options.world.host, refusal.what()),
                       .expected = "a GPU for every rank",
                       .fix = "start one rank per GPU, or use backend: mpi or gloo"});
  } catch (const std::exception& error) {
    throw did_not_come_together(options, "nccl", error,
                                "look at the other ranks' logs; NCCL_DEBUG=INFO says more");
  }
}

#endif

}  // namespace lora_dist
