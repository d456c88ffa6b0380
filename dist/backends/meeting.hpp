// Where the ranks find each other before they have a communicator: a TCPStore of c10d, which holds
// small texts under keys.
//
// It listens at MASTER_ADDR:MASTER_PORT where the environment names one (torchrun, srun), else at a
// port that the kernel chooses for rank 0 and that MPI tells the others.
#pragma once

#include <chrono>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

#include <torch/csrc/distributed/c10d/Store.hpp>

#include "core/base/error.hpp"
#include "dist/backends/backend.hpp"
#include "dist/backends/mpi_session.hpp"

namespace lora_dist {

struct MeetingPoint {
  c10::intrusive_ptr<c10d::Store> store;  // of this run's keys
  std::string address;                    // of this host, as the peers reach it
  std::shared_ptr<MpiSession> session;  // under mpirun MPI has to be left in good order; else null
};

/// Ranks   collective.
/// Errors  ConfigError; whatever c10d throws, and TransportError: rank 0 was not found in time.
MeetingPoint meet(const BackendOptions& options);

/// What to throw when `backend` could not bring the ranks together.
CommError did_not_come_together(const BackendOptions& options, std::string_view backend,
                                const std::exception& cause, std::string fix);

/// `seconds` as milliseconds, at least one.
std::chrono::milliseconds milliseconds(double seconds);

/// The first line of a library's message without its stack.
std::string first_line(const std::exception& error);

}  // namespace lora_dist
