// What one backend writes: five bare collectives that can be waited for with a deadline.
//
// No counting, no numbering, no messages for people: checked_communicator adds these once for all
// backends. Arguments have been checked before they arrive here: contiguous tensors in the
// transport's own memory, world_size of at least 2, all_reduce on float32, float64 or int64 only.
// Tensors are not empty, except that a rank of an all_to_all may have nothing to send or to
// receive. Copies (all but all_reduce) may be made bytewise.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "core/sockets/communicator.hpp"

namespace lora_dist {

using Deadline = std::chrono::steady_clock::time_point;
Deadline deadline_in(double seconds);
/// Never negative.
double seconds_until(Deadline deadline);

/// Asks `ready` again and again, and leaves the core to whoever needs it. False when the deadline
/// passed first.
bool poll_until(Deadline deadline, const std::function<bool()>& ready);

/// A library's call failed or a peer is gone; the text is the library's own.
class TransportError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A peer is gone, and the transport knows which of its ranks that is.
class LostPeer : public TransportError {
 public:
  LostPeer(int peer, const std::string& sign)
      : TransportError("lost a peer [" + sign + "]"), peer_(peer), sign_(sign) {}
  int peer() const { return peer_; }
  const std::string& sign() const { return sign_; }  // what it is known by

 private:
  int peer_;
  std::string sign_;
};

/// A collective under way. Destroying one that is not complete leaves its tensors alive as long as
/// the library may still touch them.
class Pending {
 public:
  virtual ~Pending() = default;
  /// Once it answers true, whatever the calling thread queues on its current stream sees the
  /// results. False when the deadline passed first. Errors  TransportError.
  virtual bool wait_until(Deadline deadline) = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual std::string_view name() const = 0;
  /// Whether its ranks exchange through memory that they share.
  virtual bool shares_memory() const { return false; }
  /// The device whose memory it moves; nothing where it takes whatever comes. Other tensors reach
  /// it as copies (staging.hpp).
  virtual std::optional<at::Device> memory() const { return at::Device(at::kCPU); }

  virtual std::unique_ptr<Pending> broadcast(at::Tensor tensor, int root, Deadline deadline) = 0;
  virtual std::unique_ptr<Pending> all_reduce(at::Tensor tensor, Deadline deadline) = 0;
  virtual std::unique_ptr<Pending> all_gather(at::Tensor output, at::Tensor input,
                                              Deadline deadline) = 0;
  /// `output` and `input` are (rows, bytes) of uint8, also where they have no row.
  virtual std::unique_ptr<Pending> all_to_all(at::Tensor output, at::Tensor input,
                                              const RowCounts& rows, Deadline deadline) = 0;
  virtual std::unique_ptr<Pending> barrier(Deadline deadline) = 0;

  /// Ranks that had not arrived when an operation of this rank timed out, where the library can
  /// tell.
  virtual std::vector<int> missing_ranks() const { return {}; }

  /// A transport among the ranks that have this rank's colour, in rank order; may be null where
  /// that is this rank alone. `colours` is [rank], the same on all of them.
  ///
  /// Ranks   collective, every rank of this transport. Errors  TransportError.
  virtual std::unique_ptr<Transport> split(const std::vector<int64_t>& colours,
                                           Deadline deadline) = 0;

  /// After a time-out, an error or Communicator::abort: nothing further is started, and nothing is
  /// torn down that would wait for a peer. Tells the peers where the library can; the others hear
  /// of it when this process leaves.
  virtual void abandon(const std::string& reason) = 0;
};

/// The ranks that have the colour of `rank`, ascending.
std::vector<int> ranks_of_colour(const std::vector<int64_t>& colours, int rank);

}  // namespace lora_dist
