// One run, one folder (design 1.4): whose the run folder is, and what this start may do with it.
//
// Everything is decided before anything is changed: a start that is refused, or that fails before
// training, leaves the folder as it found it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/config/config.hpp"
#include "core/sockets/run_observer.hpp"
#include "data/checkpoints/store.hpp"
#include "data/exports/adapter_files.hpp"
#include "data/io/lease.hpp"
#include "launcher/environments/environment.hpp"

namespace lora_dist {

/// How a run begins.
struct StartPlan {
  enum class State {
    fresh,   // new matrices, or init_lora_from
    newest,  // the newest verified checkpoint of the run `from`; where it has none, its own start
    checkpoint,  // the one at `source`
    adapter      // the adapter at `source`, without optimizer
  };
  enum class Folder {
    keep,     // goes on in it, or it is free
    archive,  // a new generation: what the former one left at the top moves to generation-<n>/
    clear     // overwrite_output_dir
  };
  bool is_finished = false;  // nothing to do
  State state = State::fresh;
  Folder folder = Folder::keep;
  RunIdentity from;    // newest: whose checkpoints
  std::string source;  // checkpoint, adapter: where it lies
  std::string named;   // the same as the user named it; empty where nobody did
  bool exact = true;   // optimizer and counters come along
  bool is_new_run = true;
  bool must_train = false;  // a setting was changed on purpose: a checkpoint at the end is no start
};

/// What a run begins with, read and verified.
struct LoadedStart {
  std::optional<LoadedCheckpoint> checkpoint;
  std::optional<LoadedAdapter> adapter;
  bool exact = false;
};

/// The adapter of init_lora_from; nothing where none is named.
/// Errors  those of load_adapter; ConfigError: it has another scale than the config.
std::optional<LoadedAdapter> read_initial_adapter(const Config& config);

/// Ranks  rank 0 has one, from before anything is read until the end of the run.
class RunClaim {
 public:
  /// Errors  ConfigError: an allowed change of a key that is none.
  RunClaim(const Config& config, std::vector<std::string> allowed_changes);

  /// Takes the lease and looks at what lies in the folder. Errors  LockedError, StorageError;
  /// ConfigError: it is used, and not by a run that could be continued or may be overwritten.
  void open(const std::optional<BatchJob>& job);
  /// The look alone: a dry run writes nothing.
  void look();
  /// Without global_batch_size the number of ranks decides it. A run that is continued at another
  /// number keeps its own: nothing where there is none to keep.
  std::optional<int64_t> global_batch_size_of_run() const;

  /// Says how this start goes, from the fingerprints "base", "mathematics", and "data" once it is
  /// known: without it only what does not hang on the data is refused.
  /// Errors  ConfigError, with the ways on; ModelError: the named checkpoint cannot be read.
  const StartPlan& decide(const nlohmann::ordered_json& fingerprints);
  const StartPlan& plan() const { return plan_; }

  /// Reads what the plan begins with and completes the run's identity.
  /// Errors  ModelError: nothing verifies; ConfigError: an adapter of another scale.
  LoadedStart load();
  const RunIdentity& run() const { return run_; }

  /// Makes the folder this run's: moves or removes what the plan says, last of all writes run.json
  /// with the identity, `facts`, and exit "running". Returns that record.
  nlohmann::ordered_json take(const nlohmann::ordered_json& facts);
  /// run.json as it was found; null where there was none.
  const nlohmann::ordered_json& former_record() const { return record_json_; }

  /// Null after look().
  RunLease* lease() { return lease_.get(); }

 private:
  bool is_given_up() const;
  bool is_finished() const;
  bool has_checkpoint(const RunIdentity& owner) const;
  bool is_same_run(const nlohmann::ordered_json& fingerprints) const;
  bool left_nothing() const;
  StartPlan begin_anew() const;
  StartPlan begin_beside() const;
  StartPlan go_on() const;
  StartPlan decide_for_word(const nlohmann::ordered_json& fingerprints) const;
  StartPlan decide_for_path(const nlohmann::ordered_json& fingerprints) const;
  StartPlan begin_from_checkpoint(const nlohmann::ordered_json& fingerprints) const;
  bool descends_from(const std::string& path) const;
  bool is_own(const std::string& path) const;
  bool is_inside(const std::string& path) const;
  bool all_allowed(const nlohmann::ordered_json& saved, const nlohmann::ordered_json& asked) const;
  void require_same_mathematics(const std::string& where, const nlohmann::ordered_json& saved,
                                const nlohmann::ordered_json& asked) const;
  void require_same_base(const std::string& where, const nlohmann::ordered_json& saved,
                         const nlohmann::ordered_json& asked) const;
  std::string foreign_adapter() const;
  [[noreturn]] void refuse_used_folder() const;
  [[noreturn]] void refuse_changed_run(const nlohmann::ordered_json& fingerprints) const;
  std::string describe_record() const;
  std::string archive_folder() const;
  void load_beginning_of(const RunIdentity& run, LoadedStart& start) const;
  void name_ancestor(const LoadedStart& start);
  void archive_former_generation() const;
  void clear_folder() const;

  const Config& config_;
  std::vector<std::string> allowed_changes_;
  std::string output_dir_;
  std::unique_ptr<RunLease> lease_;
  std::vector<std::string> used_;       // names in the folder that a run would overwrite
  std::optional<RunIdentity> record_;   // whose the folder is
  nlohmann::ordered_json record_json_;  // run.json, or what the newest checkpoint tells of it
  std::string new_run_id_;
  StartPlan plan_;
  RunIdentity run_;
};

/// Ends a run between two steps when its lease has gone to another process. `lease` may be null.
std::unique_ptr<RunObserver> make_lease_watch(RunLease* lease);

}  // namespace lora_dist
