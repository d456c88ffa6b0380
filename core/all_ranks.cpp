#include "core/all_ranks.hpp"

#include <new>

#include "core/error.hpp"

namespace lora_dist {
namespace {

/// The work of a rank may take long where another has none: the usual limit of a collective does
/// not fit.
constexpr double kWorkLimit_s = 24 * 3600;

constexpr char kResult = 'r';
constexpr char kFailure = 'f';

std::string failure(int exit_code, const std::string& text) {
  return fmt::format("{}{}\n{}", kFailure, exit_code, text);
}

std::string outcome_of(const std::function<std::string()>& work) {
  try {
    return kResult + work();
  } catch (const Error& error) {
    return failure(error.exit_code(), error.what());
  } catch (const std::bad_alloc&) {
    return failure(6, "memory: not enough on this host; use fewer ranks per host");
  } catch (const std::exception& error) {
    return failure(kExitInternal, error.what());
  }
}

[[noreturn]] void throw_failure(const std::string& outcome) {
  const size_t line_end = outcome.find('\n');
  const int exit_code = std::stoi(outcome.substr(1, line_end - 1));
  const std::string text = outcome.substr(line_end + 1);
  // Put together again by Error, the two halves give the same text.
  const size_t colon = text.find(": ");
  if (colon == std::string::npos) throw std::runtime_error(text);
  const Fault fault{
      .where = text.substr(0, colon), .found = text.substr(colon + 2), .expected = {}, .fix = {}};
  switch (exit_code) {
    case 2:
      throw ConfigError(fault);
    case 3:
      throw DataError(fault);
    case 4:
      throw ModelError(fault);
    case 5:
      throw StorageError(fault);
    case 6:
      throw MemoryError(fault);
    case 7:
      throw CommError(fault);
    case 8:
      throw NumericsError(fault);
    case 9:
      throw LockedError(fault);
    default:
      throw std::runtime_error(text);
  }
}

}  // namespace

std::vector<std::string> on_all_ranks(Communicator& world,
                                      const std::function<std::string()>& work) {
  if (world.world_size() == 1) return {work()};
  const std::string mine = outcome_of(work);
  world.barrier({.name = "set-up of all ranks", .timeout_s = kWorkLimit_s});
  std::vector<std::string> outcomes = all_gather_text(world, mine);
  for (const std::string& outcome : outcomes)
    if (outcome.front() == kFailure) throw_failure(outcome);
  for (std::string& outcome : outcomes) outcome.erase(0, 1);
  return outcomes;
}

}  // namespace lora_dist
