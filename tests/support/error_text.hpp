// The line a user would see, as a value to compare.
#pragma once

#include <string>

#include "core/base/error.hpp"

namespace lora_dist {

/// what() of the `Kind` that `action` throws; "(no error)" when it throws none. Other kinds pass
/// through and fail the test.
template <class Kind, class Action>
std::string error_text(Action&& action) {
  try {
    action();
  } catch (const Kind& error) {
    return error.what();
  }
  return "(no error)";
}

}  // namespace lora_dist
