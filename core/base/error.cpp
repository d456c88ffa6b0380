#include "core/base/error.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <numeric>
#include <utility>
#include <vector>

#include <c10/util/Exception.h>

namespace lora_dist {
namespace {

std::string one_line(const Fault& fault) {
  std::string text = fault.where + ": " + fault.found;
  if (!fault.expected.empty()) text += ", expected " + fault.expected;
  if (!fault.fix.empty()) text += "; " + fault.fix;
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

Error::Error(int exit_code, const Fault& fault)
    : std::runtime_error(one_line(fault)), exit_code_(exit_code), fault_(fault) {}

void throw_error(int exit_code, const Fault& fault) {
#define LORA_DIST_ERROR(Kind, code) \
  if (exit_code == code) throw Kind(fault);
  LORA_DIST_ERRORS(LORA_DIST_ERROR)
#undef LORA_DIST_ERROR
  LD_CHECK(false, fmt::format("no kind of error has exit code {}", exit_code));
}

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error)) return true;
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error)) return true;  // of the device
  const auto* library = dynamic_cast<const c10::Error*>(&error);
  if (!library) return false;
  // The host's allocator says it in words alone.
  for (const char* words : {"can't allocate memory", "not enough memory", "out of memory"})
    if (library->msg().find(words) != std::string::npos) return true;
  return false;
}

void check_failed(const char* condition, const char* file, int line, const std::string& message) {
  std::fprintf(stderr, "error: internal check failed at %s:%d: %s (%s); please report this\n", file,
               line, condition, message.c_str());
  std::abort();
}

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1), before(b.size() + 1), two_before;
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    two_before = std::exchange(before, row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({before[j] + 1, row[j - 1] + 1, before[j - 1] + (a[i - 1] != b[j - 1])});
      const bool is_swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (is_swap) row[j] = std::min(row[j], two_before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

}  // namespace lora_dist
