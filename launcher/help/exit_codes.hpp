// What the exit codes mean, for people.
#pragma once

#include <array>
#include <string_view>

namespace lora_dist {

struct ExitCode {
  int code;
  std::string_view meaning;
};

inline constexpr std::array kExitCodes = {
    ExitCode{0, "done"},
    ExitCode{2, "the command line or the config"},
    ExitCode{3, "the data"},
    ExitCode{4, "the base model, its tokenizer, an adapter or a checkpoint"},
    ExitCode{5, "storage: disk full, no permission"},
    ExitCode{6, "out of memory"},
    ExitCode{7, "a rank was lost or did not answer in time; try again"},
    ExitCode{8, "numbers that are not finite, ranks that differ"},
    ExitCode{9, "another run holds the output folder"},
    ExitCode{75, "stopped on request after a checkpoint; try again"},
    ExitCode{93, "crash loop"},
    ExitCode{130, "stopped with Ctrl-C"},
    ExitCode{134, "a fault of this program; please report it"},
};

}  // namespace lora_dist
