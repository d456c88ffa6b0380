// The run folder of design 1.4, seen from rank 0: observers that write while the run goes on, and
// the files at its end.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/config.hpp"
#include "core/trainer.hpp"
#include "data/checkpoints/store.hpp"
#include "data/reports/reports.hpp"

namespace lora_dist {

struct RunFacts {
  std::string data_path;
  std::string template_name;
  AdapterDescription description;
  nlohmann::ordered_json
      fingerprints;  // base, tokenizer, data set, and the keys that change the mathematics
  RunIdentity run;
  nlohmann::ordered_json record;                // run.json as RunClaim::take wrote it
  std::function<void()> require_lease = [] {};  // throws where the folder has become another's
  int64_t trainable_parameters = 0;
  int64_t num_steps = 0;
};

class RunFolder {
 public:
  RunFolder(const Config& config, const WorldInfo& world, RunFacts facts);

  std::vector<RunObserver*> observers();
  CheckpointStore& checkpoints() { return *checkpoints_; }
  TrainerLog& trainer_log() { return *trainer_log_; }

  /// Exports, model card, results and run.json (last). `adapter` is the final state, fp32;
  /// `seconds_to_first_step` counts from the start of the process to the end of its first step.
  void finish(const TrainingResult& result, const NamedTensors& adapter,
              double seconds_to_first_step);

 private:
  void write_run_json(const TrainingResult& result, const NamedTensors& adapter,
                      double seconds_to_first_step) const;

  const Config& config_;
  WorldInfo world_;
  RunFacts facts_;
  std::unique_ptr<CheckpointStore> checkpoints_;
  std::unique_ptr<TrainerLog> trainer_log_;
  std::unique_ptr<RunObserver> metrics_, tensorboard_, progress_;
};

}  // namespace lora_dist
