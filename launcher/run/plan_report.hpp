// What `lora-dist plan` shows of a plan: for people, and for programs.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "core/planning/fit.hpp"

namespace lora_dist {

struct PlanReport {
  const Config& config;
  const FitRequest& request;
  const Fit& fit;
  int64_t steps = 0;            // 0: unknown
  bool memory_is_ours = false;  // available_bytes is what is free on this machine
  MeasuredRates rates;          // without them no time is shown
};

/// Several lines.
std::string plan_text(const PlanReport& report);
/// Fields as in design 1.4 and more.
nlohmann::ordered_json plan_json(const PlanReport& report);

}  // namespace lora_dist
