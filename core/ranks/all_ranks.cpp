#include "core/ranks/all_ranks.hpp"

#include <sstream>

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

/// The work of a rank may take long where another has none: the usual limit of a collective does
/// not fit.
constexpr double kWorkLimit_s = 24 * 3600;

constexpr char kResult = 'r';
constexpr char kFailure = 'f';
constexpr char kEndOfPart = '\0';  // no message has one

constexpr std::string Fault::*kParts[] = {&Fault::where, &Fault::found, &Fault::expected,
                                          &Fault::fix};

/// An error as text: its exit code and its parts, which throw_failure reads.
std::string failure(int exit_code, const Fault& fault) {
  std::string text = kFailure + std::to_string(exit_code);
  for (const auto part : kParts) text += kEndOfPart + fault.*part;
  return text;
}

std::string outcome_of(const std::function<std::string()>& work) {
  try {
    return kResult + work();
  } catch (const Error& error) {
    return failure(error.exit_code(), error.fault());
  } catch (const std::exception& error) {
    if (is_out_of_memory(error))
      return failure(6, {.where = "memory",
                         .found = "not enough on this host",
                         .expected = {},
                         .fix = "use fewer ranks per host"});
    const std::string text = error.what();
    return failure(kExitInternal, {.where = text.substr(0, text.find('\n')), .found = {}});
  }
}

[[noreturn]] void throw_failure(const std::string& outcome) {
  std::istringstream parts(outcome.substr(1));
  std::string exit_code;
  std::getline(parts, exit_code, kEndOfPart);
  Fault fault;
  for (const auto part : kParts) std::getline(parts, fault.*part, kEndOfPart);
  // No kind of ours: only the first part is filled, and Error would put a colon behind it.
  if (std::stoi(exit_code) == kExitInternal) throw std::runtime_error(fault.where);
  throw_error(std::stoi(exit_code), fault);
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
