// A request to stop from outside: TERM, USR1, HUP (unless it was ignored at the start, as nohup
// does) or Ctrl-C. One thread waits for them.
//
// While steps are trained the first request sets a flag that the training loop reads after each
// step; a second TERM or Ctrl-C, and any request before, ends the process at once, with one line
// and nothing half-written left. The exit code is 130 once Ctrl-C was among the requests, else 75.
#pragma once

#include <atomic>
#include <functional>
#include <string>

namespace lora_dist {

/// Begins to watch; what leaving at once means is told as "stopped on request; <meaning>". To be
/// called before other threads are, for they inherit which signals they do not take. Later calls
/// change the meaning only.
void watch_stop_signals(const std::string& meaning);

/// From now on the first request is left to the caller, who reads the flag. `meaning` as above, for
/// the second.
const std::atomic<bool>& stop_after_step(const std::string& meaning);

/// What else to undo when the process leaves at once; called from another thread.
void clean_up_when_stopped(std::function<void()> clean_up);

/// The exit code of a run that ended with `code`: 130 for 75 once Ctrl-C was pressed, and for 0
/// too, so that a script does not go on with its next command.
int exit_code_of_stop(int code);

/// Never returns where the process is about to leave on a request: what fails then fails because of
/// it.
void wait_if_leaving();

}  // namespace lora_dist
