// What can go wrong for a user, as typed exceptions with the exit codes of the contract.
//
// A message has four parts: where, what was found, what was expected, what to do. It is one line.
// A failure that only a change of our code can mend is LD_CHECK, not an exception.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>

namespace lora_dist {

struct Fault {
  std::string where;     // file:line, tensor, rank; never empty
  std::string found;     // the value that is wrong, as the user wrote it
  std::string expected;  // may be empty where `found` says it all
  std::string fix;       // the next thing to do; may be empty
};

/// Base of all errors that a user or caller can act on. `what()` is
/// "<where>: <found>, expected <expected>; <fix>".
class Error : public std::runtime_error {
 public:
  Error(int exit_code, const Fault& fault);
  int exit_code() const { return exit_code_; }
  const Fault& fault() const { return fault_; }

 private:
  int exit_code_;
  Fault fault_;
};

// X(Kind, exit code)
#define LORA_DIST_ERRORS(X)                                                   \
  X(ConfigError, 2)   /* the request itself; ranks that disagree about it */  \
  X(DataError, 3)     /* content of a data set, shard or metadata file */     \
  X(ModelError, 4)    /* content of a base, tokenizer, adapter, checkpoint */ \
  X(StorageError, 5)  /* disk full, read-only, no permission, I/O */          \
  X(MemoryError, 6)   /* host or device memory */                             \
  X(CommError, 7)     /* lost peer, time limit, rendezvous */                 \
  X(NumericsError, 8) /* values not finite, replicas that differ */           \
  X(LockedError, 9)   /* another run holds the output folder */

#define LORA_DIST_ERROR(Kind, code)                           \
  class Kind : public Error {                                 \
   public:                                                    \
    explicit Kind(const Fault& fault) : Error(code, fault) {} \
  };
LORA_DIST_ERRORS(LORA_DIST_ERROR)
#undef LORA_DIST_ERROR

/// Throws the kind that has this exit code: the way an error of another rank is thrown here.
[[noreturn]] void throw_error(int exit_code, const Fault& fault);

/// Whether a library ran out of memory, of the host or of the device, whatever type it throws.
bool is_out_of_memory(const std::exception& error);

inline constexpr int kExitStopped = 75;       // stopped on request after a checkpoint
inline constexpr int kExitInterrupted = 130;  // the same after Ctrl-C
inline constexpr int kExitInternal = 134;     // LD_CHECK

/// Prints the failed condition with its place and aborts (exit 134).
[[noreturn]] void check_failed(const char* condition, const char* file, int line,
                               const std::string& message);

/// The known name nearest to `name` by edit distance, or "" when none is near enough to be meant: a
/// third of its letters may differ.
template <class Names>
std::string nearest_name(const std::string& name, const Names& known);
/// Letters to insert, drop or replace, or neighbours to swap, to make `b` of `a`.
size_t edit_distance(const std::string& a, const std::string& b);

template <class Names>
std::string nearest_name(const std::string& name, const Names& known) {
  std::string best;
  size_t best_distance = std::max<size_t>(1, (name.size() + 1) / 3) + 1;
  for (const auto& candidate : known) {
    const size_t distance = edit_distance(name, std::string(candidate));
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace lora_dist

#define LD_CHECK(condition, message)                                                      \
  do {                                                                                    \
    if (!(condition)) ::lora_dist::check_failed(#condition, __FILE__, __LINE__, message); \
  } while (false)
