// RunClaim, once it is decided how a run begins: what it begins with, and the folder made its own.
#include <algorithm>
#include <filesystem>

#include "core/adapters/lora.hpp"
#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "data/checkpoints/writer.hpp"
#include "data/exports/peft.hpp"
#include "data/io/files.hpp"
#include "data/io/json.hpp"
#include "launcher/run/ownership.hpp"
#include "launcher/run/run_files.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

/// An adapter means what its matrices and its scale say: both have to come along.
void require_same_scale(const LoadedAdapter& loaded, const Config& config) {
  const AdapterConfig& settings = loaded.description.settings;
  for (const auto& [name, tensor] : loaded.tensors) {
    const std::string module = ModuleRole::of(name).module;
    const double theirs = lora_scale_of(settings, module);
    const double asked = lora_scale_of(config.adapter, module);
    if (theirs == asked) continue;
    throw ConfigError(
        {.where = loaded.path,
         .found = fmt::format("{} was trained with scale {:g} (lora_alpha {:g}, lora_rank {}{})",
                              module, theirs, *settings.lora_alpha, settings.lora_rank,
                              settings.use_rslora ? ", use_rslora" : ""),
         .expected = fmt::format("scale {:g}, as this run asks for", asked),
         .fix = "give lora_alpha, lora_rank, use_rslora and the patterns the adapter's values"});
  }
}

}  // namespace

/// Where a run began that committed nothing yet.
void RunClaim::load_beginning_of(const RunIdentity& run, LoadedStart& start) const {
  if (run.lineage.empty()) return;
  const nlohmann::ordered_json& parent = run.lineage.back();
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
    kept_in =
        fs::absolute(is_folder ? archive_folder()
                               : path_in(archive_folder(), fs::path(source).filename().string()),
                     ignored)
            .string();
  run_.lineage = parent.lineage;
  run_.lineage.push_back(
      {{"run_id", parent.run_id},
       {"path", without_slash(plan_.named.empty() ? source : plan_.named)},
       {"kept_in", kept_in},
       {"step", start.checkpoint ? nlohmann::ordered_json(start.checkpoint->state.step)
                                 : nlohmann::ordered_json()},
       {"exact", start.exact}});
}

// --- taking the folder
// ----------------------------------------------------------------------------------------------

std::string RunClaim::archive_folder() const {
  return path_in(output_dir_,
                 fmt::format("{}{}", kGenerationPrefix, record_ ? record_->generation : 1));
}

nlohmann::ordered_json RunClaim::take(const nlohmann::ordered_json& facts) {
  if (lease_) lease_->require_held();
  remove_leftovers_at_top(output_dir_);
  if (plan_.folder == StartPlan::Folder::archive) archive_former_generation();
  if (plan_.folder == StartPlan::Folder::clear) clear_folder();
  nlohmann::ordered_json record = {{"version", LORA_DIST_VERSION}};
  record.update(to_json(run_));
  record.update(facts);
  record["exit"] = "running";
  write_file_atomically(path_in(output_dir_, kRunFile), utf8_dump(record, /*indent=*/2) + "\n");
  return record;
}

/// run.json is copied, and replaced by the new one: at no moment does the folder belong to nobody.
void RunClaim::archive_former_generation() const {
  const std::string archive = archive_folder();
  make_folders(archive);
  if (fs::exists(path_in(output_dir_, kRunFile)))
    write_file_atomically(path_in(archive, kRunFile), read_file(path_in(output_dir_, kRunFile)));
  for (const std::string& name : run_file_names())
    if (name != kRunFile && !is_card_of_user(path_in(output_dir_, name)))
      move_into(archive, path_in(output_dir_, name));
  if (run_.epoch_from_step > 0 && fs::exists(path_in(archive, kMetricsFile)))  // its steps go on
    write_file_atomically(path_in(output_dir_, kMetricsFile),
                          read_file(path_in(archive, kMetricsFile)));
  if (is_inside(config_.state.log_dir)) {
    const std::string logs = path_in(archive, "logs");
    for (const std::string& path : event_files(config_.state.log_dir)) {
      make_folders(logs);
      move_into(logs, path);
    }
  }
  log_info(
      fmt::format("{}: generation {} begins (run {}); checkpoints that lie there stay, new ones "
                  "count on from {}; what else the former run left is in {}/",
                  folder_label(output_dir_), run_.generation, run_.run_id,
                  run_.steps_before + run_.epoch_from_step, archive));
}

/// run.json goes last, by being replaced: a start that is cut off here leaves a folder that is
/// still known as used.
void RunClaim::clear_folder() const {
  for (const std::string& name : checkpoint_names(output_dir_))
    remove_checkpoint(path_in(output_dir_, name));
  for (const std::string& name : run_file_names()) {
    const std::string path = path_in(output_dir_, name);
    if (name != kRunFile && !is_card_of_user(path)) remove_whole(path);
  }
  std::vector<std::string> generations;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(output_dir_, ignored)) {
    if (is_generation(entry.path().string())) generations.push_back(entry.path().string());
  }
  for (const std::string& path : generations) remove_generation(path);
  if (is_inside(config_.state.log_dir))
    for (const std::string& path : event_files(config_.state.log_dir)) remove_file(path);
  log_info(fmt::format("{}: overwrite_output_dir: true, removed {}", folder_label(output_dir_),
                       shown_names(used_)));
}

}  // namespace lora_dist
