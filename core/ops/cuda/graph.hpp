// Work of a GPU that is queued once, recorded, and from then on launched as a whole: a CUDA graph.
//
// A recording keeps addresses and the numbers that kernels were given, not tensors: what changes
// from one replay to the next is read from device memory that stays where it is, nothing in it
// waits for the GPU or moves memory of the host, and the order of its kernels is the same each
// time.
//
// All recordings of a recorder take their memory from one pool, which nothing else is given. What
// one of them has freed the next one takes, in the order of recording; so whoever replays them does
// so in that order, round by round, and keeps nothing there from one round to the next. Under this
// rule recordings of several rounds, too, share the memory of the largest.
//
// The tests have a recorder for the host (tests/support/host_recorder.hpp).
#pragma once

#include <functional>
#include <memory>

namespace lora_dist::ops::cuda {

class Graph {
 public:
  virtual ~Graph() = default;
  /// Queues it on the current stream.
  virtual void replay() = 0;
};

class GraphRecorder {
 public:
  virtual ~GraphRecorder() = default;
  /// Gives back to the device what the allocator keeps unused: the pool grows into free memory
  /// alone. Waits for the GPU. Before a round of rehearse() or record().
  virtual void make_room() {}
  /// Runs `work` at once, with the memory and on the stream of recordings, behind and before what
  /// the current stream has: libraries choose and load their kernels, and the pool grows.
  virtual void rehearse(const std::function<void()>& work) = 0;
  /// Lets `work` queue its kernels and runs none of them. What `work` does on the host is done, and
  /// its tensors have their addresses.
  /// Errors  c10::Error: the recording is broken; c10::OutOfMemoryError.
  virtual std::unique_ptr<Graph> record(const std::function<void()>& work) = 0;
};

/// For one GPU, which this build has kernels for; outlived by its graphs, but not by the device.
std::unique_ptr<GraphRecorder> make_graph_recorder(at::Device gpu);

}  // namespace lora_dist::ops::cuda
