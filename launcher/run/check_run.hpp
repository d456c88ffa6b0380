// What is wrong with a run, seen without reading weights: the base's headers, the data, the paths.
#pragma once

#include <string>
#include <vector>

#include "core/config/config.hpp"

namespace lora_dist {

struct Finding {
  int exit_code = 0;
  std::string text;
};

/// Does `work`; an Error of it becomes a finding. Answers whether it went well.
template <class Work>
bool collect_finding(std::vector<Finding>& findings, Work&& work) {
  try {
    work();
    return true;
  } catch (const Error& error) {
    findings.push_back({error.exit_code(), error.what()});
    return false;
  }
}

/// Everything that would stop a run with this config before its first step and that needs no
/// weights and no device: the base's family, shapes and tokenizer, the template, the targets, all
/// paths. Keys without a value are passed over. Writes nothing.
std::vector<Finding> check_run(const Config& config);

/// The records of the training data in words: a line for each file with its format and its records,
/// then samples and tokens as training counts them. Broken records become findings, the first few
/// of each file; with data_errors: skip they are skipped with a warning, as in training.
std::string report_on_data(const Config& config, std::vector<Finding>& findings);

}  // namespace lora_dist
