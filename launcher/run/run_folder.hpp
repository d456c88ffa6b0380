// The run folder of design 1.4, seen from rank 0: observers that write while the run goes on, and
// the files at its end.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/config/config.hpp"
#include "core/training/trainer.hpp"
#include "data/checkpoints/store.hpp"
#include "data/reports/reports.hpp"
#include "data/samples/dataset.hpp"
#include "launcher/run/prompt_layout.hpp"

namespace lora_dist {

struct RunFacts {
  std::string data_path;
  DatasetStats data;
  int64_t num_samples = 0, num_held_out = 0;  // trained on; kept apart, over all held-out sets
  std::string base_dir;                       // whose tokenizer files the adapter's folder gets
  std::string template_name;
  PromptLayout layout;  // empty where no template is used
  bool on_cpu = true;
  nlohmann::ordered_json life;  // see describe_life
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
  RunFolder(const Config& config, RunFacts facts);

  std::vector<RunObserver*> observers();
  CheckpointStore& checkpoints() { return *checkpoints_; }
  TrainerLog& trainer_log() { return *trainer_log_; }

  /// Exports, tokenizer, model card, results and run.json (last). `adapter` is the final state,
  /// fp32; `seconds_to_first_step` counts from the start of the process to the end of its first
  /// step.
  void finish(const TrainingResult& result, const NamedTensors& adapter,
              double seconds_to_first_step);

 private:
  std::string tokenizer_dir() const;
  void write_card(const TrainingResult& result, const nlohmann::ordered_json& trainer_state) const;
  void write_run_json(const TrainingResult& result, const nlohmann::ordered_json& trainer_state,
                      const NamedTensors& adapter, double seconds_to_first_step) const;

  const Config& config_;
  RunFacts facts_;
  std::unique_ptr<CheckpointStore> checkpoints_;
  std::unique_ptr<TrainerLog> trainer_log_;
  std::unique_ptr<RunObserver> metrics_, tensorboard_, progress_, long_run_notice_;
};

}  // namespace lora_dist
