// The files that a run writes at the top of its folder: which they are, whose they are, and how
// they are moved or removed so that a start which is cut off leaves no half of them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "data/checkpoints/store.hpp"

namespace lora_dist {

inline constexpr const char* kRunFile = "run.json";
inline constexpr const char* kCardFile = "README.md";
inline constexpr const char* kOtherCardFile = "MODEL_CARD.md";  // beside a README.md of the user
inline constexpr const char* kMetricsFile = "metrics.jsonl";
inline constexpr std::string_view kGenerationPrefix = "generation-";

/// Files that a run writes at the top of its folder; where one of them lies, the folder is used.
const std::vector<std::string>& run_file_names();
/// Names of checkpoint-<n> folders, whatever they hold, lowest first.
std::vector<std::string> checkpoint_names(const std::string& output_dir);
/// TensorBoard's event files in a folder.
std::vector<std::string> event_files(const std::string& log_dir);
/// Whether a card of this name is there, and no run's.
bool is_card_of_user(const std::string& path);
/// Where the card of a run goes.
std::string card_path(const std::string& output_dir);

/// run.json of a folder; nothing where it is missing or not ours, which a warning says.
std::optional<nlohmann::ordered_json> read_record(const std::string& folder);
/// What the newest readable checkpoint tells of its run, where run.json has gone.
std::optional<nlohmann::ordered_json> record_of_checkpoints(const std::string& output_dir);
/// Which run wrote what lies at `path` (a checkpoint, an adapter folder or a file in one); nobody
/// where that cannot be told.
RunIdentity run_of_source(const std::string& path);
/// The text at `key`; "" where there is none.
std::string text_in(const nlohmann::ordered_json& json, const std::string& key);

/// Moves a file or folder into `folder`, over what a start that was cut off has left there; nothing
/// where `path` does not exist. Errors  StorageError.
void move_into(const std::string& folder, const std::string& path);
/// Renamed before it is emptied, so that no half of it looks like the whole. Errors  StorageError.
void remove_whole(const std::string& path);
/// Whether this is a folder generation-<n>.
bool is_generation(const std::string& path);
/// Removes what a run has left in generation-<n>; the rest stays, which a line says. Errors
/// StorageError.
void remove_generation(const std::string& path);
/// Removes what starts and ends that were cut off have left.
void remove_leftovers_at_top(const std::string& output_dir);

std::string without_slash(std::string path);
/// The same file or folder, however it is written.
bool is_same_place(const std::string& a, const std::string& b);
/// The first few names, and how many more there are.
std::string shown_names(const std::vector<std::string>& names);

}  // namespace lora_dist
