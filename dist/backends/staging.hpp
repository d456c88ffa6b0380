// The tensors of one collective in the memory that its transport moves: the caller's own, or
// copies.
//
// NCCL moves the memory of a GPU, MPI and Gloo that of the host; texts and hashes lie on the host,
// a gradient where it was computed. Copies run on the caller's current stream, so they wait for
// what this rank computes and never for a peer.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "dist/backends/transport.hpp"

namespace lora_dist {

class Staging {
 public:
  /// `memory` is Transport::memory().
  explicit Staging(std::optional<at::Device> memory) : memory_(memory) {}

  /// What the collective reads.
  at::Tensor input(const at::Tensor& tensor) const;
  /// What it fills: the contents of a copy are not those of `tensor`.
  at::Tensor output(const at::Tensor& tensor);
  /// What it reads and replaces.
  at::Tensor in_place(const at::Tensor& tensor);

  /// `pending`, whose wait then also copies the results to where the caller wants them.
  std::unique_ptr<Pending> bring_back(std::unique_ptr<Pending> pending);

 private:
  bool fits(const at::Tensor& tensor) const { return !memory_ || tensor.device() == *memory_; }

  std::optional<at::Device> memory_;
  std::vector<std::pair<at::Tensor, at::Tensor>> results_;  // the caller's tensor, its copy
};

}  // namespace lora_dist
