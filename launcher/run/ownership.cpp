#include "launcher/run/ownership.hpp"

#include <algorithm>
#include <filesystem>

#include "core/error.hpp"
#include "core/log.hpp"
#include "data/exports/adapter_config.hpp"
#include "data/exports/tokenizer_files.hpp"
#include "data/files.hpp"
#include "data/json.hpp"
#include "data/reports/reports.hpp"
#include "launcher/run/mathematics.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kRunFile = "run.json";
constexpr const char* kCardFile = "README.md";
constexpr const char* kMetricsFile = "metrics.jsonl";
constexpr std::string_view kGenerationPrefix = "generation-";
constexpr std::string_view kEventsPrefix = "events.out.tfevents.";

std::string at(const std::string& folder, const std::string& name) {
  return (fs::path(folder) / name).string();
}

/// The same file or folder, however it is written.
bool is_same_place(const std::string& a, const std::string& b) {
  std::error_code ignored;
  const auto tidy = [&](const std::string& path) {
    std::string text = fs::weakly_canonical(path, ignored).string();
    while (text.size() > 1 && text.back() == '/') text.pop_back();
    return text;
  };
  return tidy(a) == tidy(b);
}

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

bool is_path(const std::string& wish) {
  return wish != "auto" && wish != "true" && wish != "false" && !wish.empty();
}

/// Names of checkpoint-<n> folders, lowest first.
std::vector<std::string> checkpoint_names(const std::string& output_dir) {
  std::vector<std::string> names;
  for (const auto& [number, path] : list_checkpoints(output_dir))
    names.push_back(fs::path(path).filename().string());
  std::reverse(names.begin(), names.end());
  return names;
}

std::string shown(const std::vector<std::string>& names) {
  constexpr size_t kShown = 4;
  if (names.size() <= kShown) return fmt::format("{}", fmt::join(names, ", "));
  return fmt::format("{} and {} more", fmt::join(names.begin(), names.begin() + kShown, ", "),
                     names.size() - kShown);
}

/// run.json of a folder; nothing where it is missing or not ours.
std::optional<Json> read_record(const std::string& folder) {
  const std::string path = at(folder, kRunFile);
  if (!fs::exists(path)) return std::nullopt;
  try {
    Json json = read_json_file(path);
    parse_run_identity(json, path);
    if (json.contains("run_id") || json.contains("fingerprints")) return json;
  } catch (const Error& error) {
    log_warning(fmt::format("{}; it counts as another program's", error.what()));
  }
  return std::nullopt;
}

/// What the newest readable checkpoint tells of its run, where run.json has gone.
std::optional<Json> record_of_checkpoints(const std::string& output_dir) {
  for (const auto& [number, path] : list_checkpoints(output_dir)) {
    try {
      const CheckpointManifest manifest = read_checkpoint_manifest(path);
      Json json = to_json(manifest.run);
      json["fingerprints"] = manifest.fingerprints;
      return json;
    } catch (const Error&) {
      continue;
    }
  }
  return std::nullopt;
}

/// The text at `key`; "" where there is none.
std::string text_in(const Json& json, const std::string& key) {
  return json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : "";
}

Json fingerprints_of(const Json& record) {
  return record.contains("fingerprints") && record["fingerprints"].is_object()
             ? record["fingerprints"]
             : Json::object();
}

const Json& mathematics_in(const Json& fingerprints) {
  static const Json none = Json::object();
  const auto found = fingerprints.find("mathematics");
  return found == fingerprints.end() ? none : *found;
}

/// True where either side does not say.
bool has_same(const char* key, const Json& saved, const Json& asked) {
  const std::string before = text_in(saved, key), now = text_in(asked, key);
  return before.empty() || now.empty() || before == now;
}

/// Which run wrote what lies at `path` (a checkpoint, an adapter folder or a file in one).
RunIdentity run_of_source(const std::string& path) {
  try {
    if (fs::exists(at(path, kCheckpointManifestFile))) return read_checkpoint_manifest(path).run;
    const std::string folder =
        fs::is_directory(path) ? path : fs::path(path).parent_path().string();
    if (const std::optional<Json> json = read_record(folder))
      return parse_run_identity(*json, path);
  } catch (const Error&) {
    // Its lineage is lost, not its tensors.
  }
  return {};
}

/// An adapter means what its matrices and its scale say: both have to come along.
void require_same_scale(const LoadedAdapter& loaded, const Config& config) {
  const AdapterDescription ours = describe_adapter(config, "");
  for (const auto& [name, tensor] : loaded.tensors) {
    const std::string module = module_of(name);
    if (module.empty()) continue;
    const double theirs = loaded.description.scale_of(module), asked = ours.scale_of(module);
    if (theirs == asked) continue;
    throw ConfigError(
        {.where = loaded.path,
         .found =
             fmt::format("{} was trained with scale {:g} (lora_alpha {:g}, lora_rank {}{})", module,
                         theirs, loaded.description.lora_alpha, loaded.description.lora_rank,
                         loaded.description.use_rslora ? ", use_rslora" : ""),
         .expected = fmt::format("scale {:g}, as this run asks for", asked),
         .fix = "give lora_alpha, lora_rank, use_rslora and the patterns the adapter's values"});
  }
}

void move_into(const std::string& folder, const std::string& path) {
  if (!fs::exists(fs::symlink_status(path))) return;
  const std::string target = at(folder, fs::path(path).filename().string());
  std::error_code ignored;
  fs::remove_all(target, ignored);  // of a start that was cut off here
  rename_durably(path, target);
}

/// Renamed before it is emptied, so that no half of it looks like the whole.
void remove_whole(const std::string& path) {
  if (!fs::exists(fs::symlink_status(path))) return;
  const std::string doomed = path + ".del-" + random_nonce();
  rename_durably(path, doomed);
  std::error_code problem;
  fs::remove_all(doomed, problem);
  if (problem)
    throw StorageError({.where = doomed,
                        .found = fmt::format("cannot be removed ({})", problem.message()),
                        .expected = {},
                        .fix = "remove it by hand, or choose another output_dir"});
}

std::vector<std::string> event_files(const std::string& log_dir) {
  std::vector<std::string> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(log_dir, ignored))
    if (entry.path().filename().string().starts_with(kEventsPrefix))
      files.push_back(entry.path().string());
  return files;
}

/// "name.tmp-<nonce>" and "name.del-<nonce>" of what a run writes at the top of its folder.
bool is_leftover(const std::string& name) {
  constexpr size_t kNonceDigits = 16;
  if (name.starts_with(".rehearsal-")) return name.size() == 11 + kNonceDigits;
  if (name.size() < 5 + kNonceDigits) return false;
  const size_t mark = name.size() - kNonceDigits - 5;
  const std::string kind = name.substr(mark, 5), of = name.substr(0, mark);
  const std::vector<std::string>& ours = run_file_names();
  return (kind == ".tmp-" || kind == ".del-") &&
         (of == kLeaseFile || of.starts_with(kGenerationPrefix) ||
          std::find(ours.begin(), ours.end(), of) != ours.end());
}

/// What starts and ends that were cut off have left.
void remove_leftovers_at_top(const std::string& output_dir) {
  std::vector<fs::path> leftovers;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(output_dir, ignored))
    if (is_leftover(entry.path().filename().string())) leftovers.push_back(entry.path());
  for (const fs::path& path : leftovers) fs::remove_all(path, ignored);
}

bool is_our_card(const std::string& path) {
  try {
    return is_model_card(read_file(path));
  } catch (const Error&) {
    return false;
  }
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

const std::vector<std::string>& run_file_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all = {"adapter_config.json",
                                    "adapter_model.safetensors",
                                    "pytorch_lora_weights.safetensors",
                                    "README.md",
                                    "config.resolved.yaml",
                                    "run.json",
                                    "metrics.jsonl",
                                    "report.html",
                                    "samples",
                                    "trainer_state.json",
                                    "train_results.json"};
    for (const std::string& name : tokenizer_file_names()) all.push_back(name);
    return all;
  }();
  return names;
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
    if (fs::exists(fs::symlink_status(at(output_dir_, name)))) used_.push_back(name);
  for (const std::string& name : checkpoint_names(output_dir_)) used_.push_back(name);
  std::optional<Json> json = read_record(output_dir_);
  const bool is_foreign = !json && fs::exists(at(output_dir_, kRunFile));
  if (!json && !is_foreign) json = record_of_checkpoints(output_dir_);
  if (json) {
    record_ = parse_run_identity(*json, at(output_dir_, kRunFile));
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
  if (!fs::exists(at(output_dir_, kAdapterModelFile)) ||
      !fs::exists(at(output_dir_, kAdapterConfigFile)))
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
  return record_ && !has_checkpoint(*record_) && !fs::exists(at(output_dir_, kAdapterModelFile)) &&
         !fs::exists(at(output_dir_, kAdapterConfigFile));
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
  return fs::exists(at(path, kCheckpointManifestFile)) &&
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
  const bool is_checkpoint =
      fs::exists(at(wish, kCheckpointManifestFile)) || fs::exists(at(wish, kOptimizerFile));
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
    throw ConfigError(
        {.where = where,
         .found =
             fmt::format("{} {}, this run asks for {}", changed.key, changed.saved, changed.asked),
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

// --- refusals
// -------------------------------------------------------------------------------------------------------

std::string RunClaim::describe_record() const {
  const std::string exit = text_in(record_json_, "exit");
  const std::string state = exit == "done" || exit == "stopped early" ? "finished" : "not finished";
  const std::string id = record_->run_id.empty() ? "another run" : "run " + record_->run_id;
  return fmt::format("{} ({})", id, state);
}

void RunClaim::refuse_used_folder() const {
  const std::string found = record_
                                ? fmt::format("holds {}: {}", describe_record(), shown(used_))
                                : fmt::format("holds {}, of no run that could go on", shown(used_));
  throw ConfigError({.where = folder_label(output_dir_),
                     .found = found,
                     .expected = "a folder without the files of another run",
                     .fix =
                         "choose another output_dir, go on with resume_from_checkpoint (auto, or "
                         "the path of a checkpoint), or set overwrite_output_dir: true"});
}

void RunClaim::refuse_changed_run(const Json& fingerprints) const {
  const Json saved = fingerprints_of(record_json_);
  const std::vector<std::string> checkpoints = checkpoint_names(output_dir_);
  const std::string newest = checkpoints.empty() ? "" : at(output_dir_, checkpoints.back());
  std::string difference, resume;
  const auto changed = changed_keys(mathematics_in(saved), mathematics_in(fingerprints));
  if (!has_same("base", saved, fingerprints)) {
    difference = fmt::format("of another base model than {}", config_.model.base_model);
    resume = "set its base_model again to resume it";
  } else if (!changed.empty()) {
    const ChangedKey& first = changed.front();
    difference =
        fmt::format("with {} {}, this run asks for {}", first.key, first.saved, first.asked);
    if (changed.size() > 1) {
      std::vector<std::string> others;
      for (size_t i = 1; i < changed.size(); ++i) others.push_back(changed[i].key);
      difference += fmt::format(" (also other: {})", shown(others));
    }
    resume = fmt::format("set {}: {} again to resume it", first.key, first.saved);
    if (first.key == "max_steps" || first.key == "epochs")
      difference += " (the learning rate of each step depends on how many there are)";
    const bool fits = std::all_of(changed.begin(), changed.end(), [](const ChangedKey& key) {
      return state_fits_after_change_of(key.key);
    });
    if (fits && !newest.empty()) {
      std::string options;
      for (const ChangedKey& key : changed) options += " --allow-change " + key.key;
      resume += fmt::format(" (or go on from {} as another run with{})", newest, options);
    }
  } else {
    difference = "trained on other data than these";
    resume = newest.empty()
                 ? "give it its data again to resume it"
                 : fmt::format("train its adapter on with resume_from_checkpoint: {}", newest);
  }
  throw ConfigError(
      {.where = folder_label(output_dir_),
       .found = fmt::format("holds {} {}", describe_record(), difference),
       .expected = {},
       .fix = fmt::format("choose another output_dir, {}, or set overwrite_output_dir: true",
                          resume)});
}

// --- what it begins with
// --------------------------------------------------------------------------------------------

/// Where a run began that committed nothing yet.
void RunClaim::load_beginning_of(const RunIdentity& run, LoadedStart& start) const {
  if (run.lineage.empty()) return;
  const Json& parent = run.lineage.back();
  const std::string source = text_in(parent, "kept_in");
  start.exact = parent.contains("exact") && parent["exact"] == true;
  if (start.exact) {
    start.checkpoint = load_checkpoint(source);
  } else {
    start.adapter = load_adapter(source);
  }
}

std::optional<LoadedAdapter> read_initial_adapter(const Config& config) {
  if (config.adapter.init_lora_from.empty()) return std::nullopt;
  LoadedAdapter adapter = load_adapter(config.adapter.init_lora_from);
  require_same_scale(adapter, config);
  return adapter;
}

LoadedStart RunClaim::load() {
  LoadedStart start{.checkpoint = std::nullopt, .adapter = std::nullopt, .exact = plan_.exact};
  switch (plan_.state) {
    case StartPlan::State::fresh:
      start.adapter = read_initial_adapter(config_);
      break;
    case StartPlan::State::newest:
      start.checkpoint = load_newest_checkpoint(output_dir_, plan_.from);
      if (!start.checkpoint) load_beginning_of(plan_.from, start);
      break;
    case StartPlan::State::checkpoint:
      start.checkpoint = load_checkpoint(plan_.source);
      if (!start.exact) {
        log_warning(fmt::format(
            "{}: other training data than now; its adapter is the start of a new schedule",
            plan_.source));
        start.adapter = load_adapter(plan_.source);
      }
      break;
    case StartPlan::State::adapter:
      log_warning(
          fmt::format("{}: an adapter without optimizer state; it is the start of a new schedule",
                      plan_.source));
      start.adapter = load_adapter(plan_.source);
      break;
  }
  if (start.adapter) {
    start.exact = false;
    require_same_scale(*start.adapter, config_);
  }
  if (!start.checkpoint) start.exact = false;
  run_ = plan_.is_new_run ? RunIdentity{} : plan_.from;
  if (plan_.is_new_run) name_ancestor(start);
  run_.epoch_from_step = start.exact ? start.checkpoint->state.step : 0;
  const int64_t former_epoch = record_ && !plan_.is_new_run ? record_->epoch : 0;
  run_.epoch = std::max(former_epoch + 1, lease_ ? lease_->epoch() : 1);
  if (lease_) lease_->name_run(run_.run_id);
  if (!plan_.named.empty() && plan_.state == StartPlan::State::newest && start.checkpoint)
    log_info(fmt::format("{}: this run has come from there to {}; it goes on", plan_.named,
                         start.checkpoint->path));
  return start;
}

/// The identity of a new run: its number in the folder, and what it descends from.
void RunClaim::name_ancestor(const LoadedStart& start) {
  run_.run_id = new_run_id_;
  const bool is_next = plan_.folder == StartPlan::Folder::archive ||
                       (plan_.folder == StartPlan::Folder::keep && record_);
  if (is_next) {
    run_.generation = (record_ ? record_->generation : 1) + 1;
    const auto checkpoints = list_checkpoints(output_dir_);
    const int64_t highest = checkpoints.empty() ? 0 : checkpoints.front().first;
    run_.steps_before =
        std::max<int64_t>(0, highest - (start.exact ? start.checkpoint->state.step : 0));
  }
  const std::string source = start.adapter      ? start.adapter->path
                             : start.checkpoint ? start.checkpoint->path
                                                : std::string();
  if (source.empty()) return;
  const RunIdentity parent = run_of_source(source);
  std::error_code ignored;
  std::string kept_in = fs::absolute(without_slash(source), ignored).string();
  const bool is_folder = is_same_place(source, output_dir_);
  const bool is_top_file = is_same_place(fs::path(kept_in).parent_path().string(), output_dir_) &&
                           !fs::is_directory(source);
  if (plan_.folder == StartPlan::Folder::archive && (is_folder || is_top_file))
    kept_in = fs::absolute(is_folder ? archive_folder()
                                     : at(archive_folder(), fs::path(source).filename().string()),
                           ignored)
                  .string();
  run_.lineage = parent.lineage;
  run_.lineage.push_back({{"run_id", parent.run_id},
                          {"path", without_slash(plan_.named.empty() ? source : plan_.named)},
                          {"kept_in", kept_in},
                          {"step", start.checkpoint ? Json(start.checkpoint->state.step) : Json()},
                          {"exact", start.exact}});
}

// --- taking the folder
// ----------------------------------------------------------------------------------------------

std::string RunClaim::archive_folder() const {
  return at(output_dir_, fmt::format("{}{}", kGenerationPrefix, record_ ? record_->generation : 1));
}

Json RunClaim::take(const Json& facts) {
  if (lease_) lease_->require_held();
  remove_leftovers_at_top(output_dir_);
  if (plan_.folder == StartPlan::Folder::archive) archive_former_generation();
  if (plan_.folder == StartPlan::Folder::clear) clear_folder();
  set_foreign_card_aside();
  Json record = {{"version", LORA_DIST_VERSION}};
  record.update(to_json(run_));
  record.update(facts);
  record["exit"] = "running";
  write_file_atomically(at(output_dir_, kRunFile), utf8_dump(record, /*indent=*/2) + "\n");
  return record;
}

/// A card that a person wrote meanwhile makes room for the run's own.
void RunClaim::set_foreign_card_aside() const {
  const std::string card = at(output_dir_, kCardFile);
  if (!fs::exists(card) || is_our_card(card)) return;
  const std::string kept = at(output_dir_, fmt::format("README.before-{}.md", run_.run_id));
  rename_durably(card, kept);
  log_info(fmt::format("{}: kept as {}", card, kept));
}

/// run.json is copied, and replaced by the new one: at no moment does the folder belong to nobody.
void RunClaim::archive_former_generation() const {
  const std::string archive = archive_folder();
  make_folders(archive);
  if (fs::exists(at(output_dir_, kRunFile)))
    write_file_atomically(at(archive, kRunFile), read_file(at(output_dir_, kRunFile)));
  for (const std::string& name : run_file_names())
    if (name != kRunFile) move_into(archive, at(output_dir_, name));
  if (run_.epoch_from_step > 0 && fs::exists(at(archive, kMetricsFile)))  // its steps go on
    write_file_atomically(at(output_dir_, kMetricsFile), read_file(at(archive, kMetricsFile)));
  if (is_inside(config_.state.log_dir)) {
    const std::string logs = at(archive, "logs");
    for (const std::string& path : event_files(config_.state.log_dir)) {
      make_folders(logs);
      move_into(logs, path);
    }
  }
  log_info(fmt::format(
      "{}: generation {} begins (run {}); checkpoints that lie there stay, new ones "
      "count on from {}; what else the former run left is in {}/",
      folder_label(output_dir_), run_.generation, run_.run_id, run_.steps_before, archive));
}

/// run.json goes last, by being replaced: a start that is cut off here leaves a folder that is
/// still known as used.
void RunClaim::clear_folder() const {
  std::vector<std::string> names = checkpoint_names(output_dir_);
  for (const std::string& name : run_file_names()) {
    if (name == kRunFile) continue;
    if (name == kCardFile && !is_our_card(at(output_dir_, name))) continue;
    names.push_back(name);
  }
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(output_dir_, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kGenerationPrefix)) names.push_back(name);
  }
  for (const std::string& name : names) remove_whole(at(output_dir_, name));
  if (is_inside(config_.state.log_dir))
    for (const std::string& path : event_files(config_.state.log_dir)) remove_file(path);
  log_info(fmt::format("{}: overwrite_output_dir: true, removed {}", folder_label(output_dir_),
                       shown(used_)));
}

}  // namespace lora_dist
