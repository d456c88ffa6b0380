#include "core/models/decoder/decoder_outline.hpp"
#include "core/ranks/all_ranks.hpp"
#include "launcher/run/stages.hpp"
#include "launcher/run/world.hpp"

namespace lora_dist {
namespace {

void decide(OpenedRun& run, const std::string& data_fingerprint) {
  run.fingerprints["data"] = data_fingerprint;
  if (run.claim) run.claim->decide(run.fingerprints);
}

}  // namespace

PreparedRun prepare_data(OpenedRun opened) {
  PreparedRun run{std::move(opened)};
  run.data =
      prepare_run_data(run.config, decoder_spec_of(*run.base.outline).vocab_size,
                       run.base.tokenizer.get(), run.base.prompt_template.get(), *run.communicator,
                       [&](const std::string& data) { decide(run, data); });
  decide(run, run.data.train->fingerprint());
  compare_fingerprints(run.fingerprints, *run.communicator);
  run.is_finished =
      on_all_ranks(*run.communicator, [&] {
        return std::string(run.claim && run.claim->plan().is_finished ? "finished" : "");
      }).front() == "finished";
  return run;
}

}  // namespace lora_dist
