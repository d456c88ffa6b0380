// A GraphRecorder for the host: a replay runs the recorded work again.
//
// It does with host memory what a GPU would: nothing is computed while work is recorded, and a
// replay sees what lies in its inputs then. Other than a GPU's graph it would also follow an input
// that has moved, so each replay compares the addresses that its LibTorch operations read from
// outside with those of the first one.
#pragma once

#include <string>
#include <unordered_set>
#include <vector>

#include "core/ops/cuda/graph.hpp"

namespace lora_dist {

class HostRecorder final : public ops::cuda::GraphRecorder {
 public:
  void make_room() override { events.emplace_back("room"); }
  void rehearse(const std::function<void()>& work) override;
  std::unique_ptr<ops::cuda::Graph> record(const std::function<void()>& work) override;

  /// In their order: "room", "rehearse", "record 0", "replay 0", "forget 0".
  std::vector<std::string> events;
  /// Operations of replays that read memory from outside at another address than the first time.
  std::vector<std::string> moved;

 private:
  struct Read;
  class HostGraph;
  class Watch;

  int num_recorded_ = 0;
  std::unordered_set<const void*> made_;  // memory that came from replays
};

}  // namespace lora_dist
