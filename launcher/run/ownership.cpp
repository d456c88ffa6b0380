#include "launcher/run/ownership.hpp"

#include <algorithm>
#include <filesystem>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "data/exports/peft.hpp"
#include "data/io/files.hpp"
#include "data/io/json.hpp"
#include "launcher/run/mathematics.hpp"
#include "launcher/run/run_files.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

bool is_path(const std::string& wish) {
  return wish != "auto" && wish != "true" && wish != "false" && !wish.empty();
}

class LeaseWatch final : public RunObserver {
 public:
  explicit LeaseWatch(RunLease* lease) : lease_(lease) {}
  void on_step(const StepMetrics&) override {
    if (lease_ && lease_->is_lost()) lease_->require_held();
  }

 private:
  RunLease* lease_;
};

}  // namespace

std::unique_ptr<RunObserver> make_lease_watch(RunLease* lease) {
  return std::make_unique<LeaseWatch>(lease);
}

RunClaim::RunClaim(const Config& config, std::vector<std::string> allowed_changes)
    : config_(config),
      allowed_changes_(std::move(allowed_changes)),
      output_dir_(without_slash(config.state.output_dir)),
      new_run_id_(random_nonce()) {
  std::vector<std::string> keys;
  Config copy = config;
  copy.each_field(
      [&](const char* key, auto&, const FieldRule&, const char*) { keys.emplace_back(key); });
  for (const std::string& key : allowed_changes_) {
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
    const std::string near = nearest_name(key, keys);
    throw ConfigError({.where = "--allow-change",
                       .found = fmt::format("unknown key '{}'", key),
                       .expected = {},
                       .fix = near.empty() ? "name a key of the config"
                                           : fmt::format("did you mean '{}'?", near)});
  }
}

void RunClaim::open(const std::optional<BatchJob>& job) {
  LeaseHolder self = this_process();
  if (job) {
    self.job = job->id;
    self.job_start = job->start;
  }
  lease_ = RunLease::acquire({.output_dir = output_dir_, .self = std::move(self)});
  look();
}

void RunClaim::look() {
  for (const std::string& name : run_file_names())
    if (fs::exists(fs::symlink_status(path_in(output_dir_, name))) &&
        !is_card_of_user(path_in(output_dir_, name)))
      used_.push_back(name);
  if (is_card_of_user(card_path(output_dir_))) used_.emplace_back(kOtherCardFile);
  for (const std::string& name : checkpoint_names(output_dir_)) used_.push_back(name);
  std::optional<Json> json = read_record(output_dir_);
  const bool is_foreign = !json && fs::exists(path_in(output_dir_, kRunFile));
  if (!json && !is_foreign) json = record_of_checkpoints(output_dir_);
  if (json) {
    record_ = parse_run_identity(*json, path_in(output_dir_, kRunFile));
    record_json_ = std::move(*json);
    return;
  }
  const std::string& wish = config_.state.resume_from_checkpoint;
  const bool may_begin_here =
      config_.state.overwrite_output_dir || (is_path(wish) && is_inside(wish));
  if (!used_.empty() && !may_begin_here) refuse_used_folder();
}

std::optional<int64_t> RunClaim::global_batch_size_of_run() const {
  const StepsConfig& steps = config_.steps;
  if (!record_ || steps.global_batch_size) return std::nullopt;
  const Json saved = mathematics_in(fingerprints_of(record_json_));
  const std::string accumulation = fmt::format("{}", steps.gradient_accumulation_steps);
  const bool was_derived_alike =
      text_in(saved, "gradient_accumulation_steps") == accumulation &&
      text_in(saved, "batch_size") == fmt::format("{}", steps.batch_size);
  const Json global = Json::parse(text_in(saved, "global_batch_size"), nullptr, false);
  if (!was_derived_alike || !global.is_number_integer() || is_given_up()) return std::nullopt;
  return global.get<int64_t>();
}

// --- how this start goes
// --------------------------------------------------------------------------------------------

/// Whether what lies in the folder is not to be continued.
bool RunClaim::is_given_up() const { return config_.state.resume_from_checkpoint == "false"; }

const StartPlan& RunClaim::decide(const Json& fingerprints) {
  plan_ = is_path(config_.state.resume_from_checkpoint) ? decide_for_path(fingerprints)
                                                        : decide_for_word(fingerprints);
  return plan_;
}

bool RunClaim::is_same_run(const Json& fingerprints) const {
  const Json saved = fingerprints_of(record_json_);
  return has_same("base", saved, fingerprints) && has_same("data", saved, fingerprints) &&
         changed_keys(mathematics_in(saved), mathematics_in(fingerprints)).empty();
}

bool RunClaim::is_finished() const {
  const std::string exit = text_in(record_json_, "exit");
  if (exit != "done" && exit != "stopped early") return false;
  if (!fs::exists(path_in(output_dir_, kAdapterModelFile)) ||
      !fs::exists(path_in(output_dir_, kAdapterConfigFile)))
    return false;
  // A run without an end in its schedule may be asked for more of the same.
  const Json saved = mathematics_in(fingerprints_of(record_json_));
  const Json asked = mathematics_of(config_, /*slots_per_step=*/1);
  const auto is_as_long = [&](const char* key) {
    return text_in(saved, key) == text_in(asked, key);
  };
  return is_as_long("max_steps") && is_as_long("epochs");
}

bool RunClaim::has_checkpoint(const RunIdentity& owner) const {
  for (const auto& [number, path] : list_checkpoints(output_dir_)) {
    if (owner.steps_before > 0 && number <= owner.steps_before) continue;
    try {
      const CheckpointManifest manifest = read_checkpoint_manifest(path);
      if (is_of_run(manifest.run, manifest.step, owner)) return true;
    } catch (const Error&) {
      return true;  // a damaged one is named when it is skipped
    }
  }
  return false;
}

StartPlan RunClaim::begin_anew() const {
  const bool is_free = used_.empty() && !record_;
  return {.folder = is_free ? StartPlan::Folder::keep : StartPlan::Folder::clear};
}

/// Of a run that ended before it had a checkpoint (its batch did not fit, its loss was not finite)
/// there is nothing to lose but reports, and those are kept.
bool RunClaim::left_nothing() const {
  return record_ && !has_checkpoint(*record_) &&
         !fs::exists(path_in(output_dir_, kAdapterModelFile)) &&
         !fs::exists(path_in(output_dir_, kAdapterConfigFile));
}

StartPlan RunClaim::begin_beside() const { return {.folder = StartPlan::Folder::archive}; }

StartPlan RunClaim::go_on() const {
  return {.is_finished = is_finished(),
          .state = StartPlan::State::newest,
          .from = *record_,
          .is_new_run = record_->run_id.empty()};  // of a version without ids: it gets one
}

StartPlan RunClaim::decide_for_word(const Json& fingerprints) const {
  const bool required = config_.state.resume_from_checkpoint == "true";
  const bool may_overwrite = config_.state.overwrite_output_dir && !required;
  if (required && (!record_ || !has_checkpoint(*record_)))
    throw ConfigError({.where = output_dir_ + "/",
                       .found = "resume_from_checkpoint is true but no checkpoint exists",
                       .expected = {},
                       .fix = "use auto"});
  if (!record_) return begin_anew();
  const bool same = is_same_run(fingerprints);
  if (is_given_up()) {
    if (may_overwrite) return begin_anew();
    if (same && left_nothing()) return go_on();
    if (left_nothing()) return begin_beside();
    refuse_used_folder();
  }
  if (same) return is_finished() && may_overwrite ? begin_anew() : go_on();
  if (may_overwrite) return begin_anew();
  if (left_nothing()) return begin_beside();
  const Json saved = fingerprints_of(record_json_);
  if (has_same("base", saved, fingerprints) && has_same("data", saved, fingerprints) &&
      all_allowed(saved, fingerprints) && has_checkpoint(*record_)) {
    return {.state = StartPlan::State::newest,
            .folder = StartPlan::Folder::archive,
            .from = *record_,
            .must_train = true};
  }
  refuse_changed_run(fingerprints);
}

bool RunClaim::descends_from(const std::string& path) const {
  if (!record_ || record_->lineage.empty()) return false;
  const Json& parent = record_->lineage.back();
  return text_in(parent, "path") == without_slash(path) ||
         is_same_place(text_in(parent, "kept_in"), path);
}

bool RunClaim::is_inside(const std::string& path) const {
  std::error_code ignored;
  const fs::path relative = fs::weakly_canonical(path, ignored)
                                .lexically_relative(fs::weakly_canonical(output_dir_, ignored));
  return !relative.empty() && relative.begin()->string() != "..";
}

bool RunClaim::is_own(const std::string& path) const {
  if (!record_ || !is_inside(path)) return false;
  if (is_same_place(path, output_dir_)) return true;
  return fs::exists(path_in(path, kCheckpointManifestFile)) &&
         run_of_source(path).run_id == record_->run_id;
}

StartPlan RunClaim::decide_for_path(const Json& fingerprints) const {
  const std::string& wish = config_.state.resume_from_checkpoint;
  // The same command again: its run goes on, and does not begin again from where it once began.
  if (record_ && is_same_run(fingerprints) && (descends_from(wish) || is_own(wish))) {
    StartPlan plan = go_on();
    plan.named = wish;
    const bool again = config_.state.overwrite_output_dir && !is_inside(wish);
    if (!plan.is_finished || !again) return plan;
  }
  if (!fs::exists(wish))
    throw ConfigError({.where = "resume_from_checkpoint",
                       .found = fmt::format("'{}' does not exist", wish),
                       .expected = {},
                       .fix = "name a checkpoint-<step> folder, or use auto"});
  const bool is_checkpoint = fs::exists(path_in(wish, kCheckpointManifestFile)) ||
                             fs::exists(path_in(wish, kOptimizerFile));
  StartPlan plan = is_checkpoint ? begin_from_checkpoint(fingerprints)
                                 : StartPlan{.state = StartPlan::State::adapter, .exact = false};
  plan.source = plan.named = wish;
  if (used_.empty() && !record_) return plan;
  if (is_inside(wish) || left_nothing()) {
    plan.folder = StartPlan::Folder::archive;
  } else if (config_.state.overwrite_output_dir) {
    plan.folder = StartPlan::Folder::clear;
  } else {
    refuse_used_folder();
  }
  return plan;
}

// T24 of the requirements: the same data is an exact resume; other data keep the adapter and start
// a new schedule, for which settings may change.
StartPlan RunClaim::begin_from_checkpoint(const Json& fingerprints) const {
  const std::string& path = config_.state.resume_from_checkpoint;
  const Json saved = read_checkpoint_manifest(path).fingerprints;
  require_same_base(path, saved, fingerprints);
  StartPlan plan{.state = StartPlan::State::checkpoint};
  plan.exact = has_same("data", saved, fingerprints);
  const bool data_are_known = fingerprints.contains("data");
  if (plan.exact && data_are_known) {
    plan.must_train = !changed_keys(mathematics_in(saved), mathematics_in(fingerprints)).empty();
    if (plan.must_train && !all_allowed(saved, fingerprints))
      require_same_mathematics(path, saved, fingerprints);
  }
  return plan;
}

bool RunClaim::all_allowed(const Json& saved, const Json& asked) const {
  for (const ChangedKey& changed : changed_keys(mathematics_in(saved), mathematics_in(asked))) {
    const bool named = std::find(allowed_changes_.begin(), allowed_changes_.end(), changed.key) !=
                       allowed_changes_.end();
    if (!named || !state_fits_after_change_of(changed.key)) return false;
  }
  return true;
}

void RunClaim::require_same_mathematics(const std::string& where, const Json& saved,
                                        const Json& asked) const {
  for (const ChangedKey& changed : changed_keys(mathematics_in(saved), mathematics_in(asked))) {
    const bool fits = state_fits_after_change_of(changed.key);
    const bool named = std::find(allowed_changes_.begin(), allowed_changes_.end(), changed.key) !=
                       allowed_changes_.end();
    if (named && fits) continue;
    const std::string reason = why_it_counts(changed.key);
    throw ConfigError(
        {.where = where,
         .found = fmt::format("{} {}, this run asks for {}{}", changed.key, changed.saved,
                              changed.asked, reason.empty() ? "" : fmt::format(" ({})", reason)),
         .expected = {},
         .fix = fits ? fmt::format("set {} again, pass --allow-change {}, or choose another "
                                   "output_dir",
                                   changed.saved, changed.key)
                     : fmt::format("set {} again, or choose another output_dir and start anew",
                                   changed.saved)});
  }
}

void RunClaim::require_same_base(const std::string& where, const Json& saved,
                                 const Json& asked) const {
  if (has_same("base", saved, asked)) return;
  throw ConfigError({.where = where,
                     .found = "was trained on another base model",
                     .expected = fmt::format("'{}'", config_.model.base_model),
                     .fix = "set base_model to that one again, or carry the adapter over with "
                            "init_lora_from and another output_dir"});
}

}  // namespace lora_dist
