// One checkpoint onto the disk, and what has to go for it (reliability 3.1, steps 3 to 9).
#pragma once

#include "data/checkpoints/store.hpp"

namespace lora_dist {

/// Writes checkpoint-<step> of `options.output_dir` and prints "checkpoint-<step> committed" once
/// it is durable. One of the same step is replaced. Errors  StorageError; there is no folder of the
/// new name then, and the old ones are untouched.
void write_checkpoint(const StoreOptions& options, const TrainingState& state);
/// Removes the oldest beyond `save_total_limit`, once the newest has been read back.
void rotate_checkpoints(const StoreOptions& options, const TrainingState& newest);
/// Removes the files of a checkpoint, and its folder where nothing else lies in it; what does
/// stays, which a line says. Errors  StorageError.
void remove_checkpoint(const std::string& folder);
/// Removes the .tmp- and .del- folders of runs that died.
void remove_leftovers(const std::string& output_dir);

}  // namespace lora_dist
