// A command of the program without a process: options in, standard output out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lora_dist {

/// Standard output of a command that ends with 0; what it throws is passed on.
std::string output_of_command(std::string_view name, std::vector<std::string> arguments);

}  // namespace lora_dist
