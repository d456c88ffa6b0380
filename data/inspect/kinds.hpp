// One description per kind of thing; inspect.cpp decides which applies.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/sockets/weight_source.hpp"

namespace lora_dist {

/// Sums over tensors: how many, how many values, bytes, and the values of each type.
nlohmann::ordered_json tensor_totals(const std::vector<WeightInfo>& weights);
/// Each tensor with its type, shape and bytes.
nlohmann::ordered_json tensor_list(const std::vector<WeightInfo>& weights);
/// Each kind of tensor: one name for those that differ by a number alone, with their count.
nlohmann::ordered_json tensor_kinds(const std::vector<WeightInfo>& weights);

nlohmann::ordered_json inspect_safetensors(const std::string& path);
nlohmann::ordered_json inspect_base_model(const std::string& model_dir);
/// What a dialect of data/exports recognises.
nlohmann::ordered_json inspect_adapter(const std::string& path);
nlohmann::ordered_json inspect_checkpoint(const std::string& folder);
nlohmann::ordered_json inspect_run(const std::string& output_dir);
/// run.json and metrics.jsonl of a run.
nlohmann::ordered_json inspect_run_file(const std::string& path);
nlohmann::ordered_json inspect_metrics(const std::string& path);
/// One HDF5 part, and a folder of them with its manifest. Errors  DataError.
nlohmann::ordered_json inspect_part(const std::string& path);
nlohmann::ordered_json inspect_prepared(const std::string& folder);
bool is_prepared_set(const std::string& folder);
/// A folder of such folders, as `prepared_dir` is, and the names of those in it.
nlohmann::ordered_json inspect_prepared_sets(const std::string& folder);
std::vector<std::string> prepared_sets_in(const std::string& folder);
/// Files and folders of records: format, counts, the first record. Errors  DataError: none.
nlohmann::ordered_json inspect_data(const std::string& path);
/// What a file is whose name tells it, and the command that shows more; null for other names.
nlohmann::ordered_json inspect_named_file(const std::string& path);

}  // namespace lora_dist
