// How the program leaves: after a failure with one line for the person, always with one exit code
// for the scheduler.
//
// The line appears once, whatever the number of ranks. Failures that all ranks have alike (the same
// request, or an error that on_all_ranks carried to everyone) are told by rank 0; a rank that fails
// alone waits for it first, and speaks where rank 0 had nothing to say.
#pragma once

#include <exception>
#include <functional>
#include <string>

namespace lora_dist {

struct Failure {
  int exit_code = 0;
  std::string text;    // one line, without "error: "
  std::string detail;  // for the log file; may be empty
};

/// The kind of an exception (design 1.5): Error has its own code, memory is 6, the rest is ours:
/// 134.
Failure describe_failure(const std::exception_ptr& exception);

/// Whether this process tells the person about a failure.
bool prints_errors();

/// Runs `work` and ends the process with its exit code; on an exception says what happened first.
/// Ends it at once, with _exit: no teardown of a communicator that others may still hang in, and
/// none of LibTorch's registries, which takes a tenth of a second.
[[noreturn]] void run_and_leave(const std::function<int()>& work);

}  // namespace lora_dist
