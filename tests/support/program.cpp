#include "tests/support/program.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

#include <sys/wait.h>

namespace lora_dist {
namespace {

std::string content_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

[[noreturn]] void become(const std::vector<std::string>& arguments, const std::string& folder,
                         const std::string& out, const std::string& err) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const int flags = O_WRONLY | O_CREAT | O_TRUNC;
  const bool ready = chdir(folder.c_str()) == 0 && dup2(open(out.c_str(), flags, 0600), 1) == 1 &&
                     dup2(open(err.c_str(), flags, 0600), 2) == 2;
  if (ready) execvp(argv[0], argv.data());
  _exit(127);
}

}  // namespace

RunningProgram::RunningProgram(const std::vector<std::string>& arguments,
                               const std::string& folder) {
  child_ = fork();
  if (child_ < 0) throw std::runtime_error("fork failed");
  if (child_ == 0) become(arguments, folder, streams_.file("out"), streams_.file("err"));
}

RunningProgram::~RunningProgram() {
  if (child_ < 0) return;
  kill(child_, SIGKILL);
  waitpid(child_, nullptr, 0);
}

void RunningProgram::send(int signal) const { kill(child_, signal); }

ProgramResult RunningProgram::wait() {
  int status = 0;
  if (waitpid(std::exchange(child_, -1), &status, 0) < 0)
    throw std::runtime_error("waitpid failed");
  return {.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          .standard_output = content_of(streams_.file("out")),
          .standard_error = content_of(streams_.file("err"))};
}

ProgramResult run_program(const std::vector<std::string>& arguments, const std::string& folder) {
  return RunningProgram(arguments, folder).wait();
}

bool is_installed(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');)
    if (access((folder + "/" + program).c_str(), X_OK) == 0) return true;
  return false;
}

}  // namespace lora_dist
