// The process a user starts with --ranks: it runs mpirun as its child and stands between it and the
// signals.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <sys/prctl.h>
#include <sys/wait.h>

#include "core/error.hpp"
#include "core/log.hpp"
#include "launcher/environments/environment.hpp"
#include "launcher/environments/failed_start.hpp"
#include "launcher/environments/library_path.hpp"
#include "launcher/environments/relayed_errors.hpp"
#include "launcher/environments/variables.hpp"

namespace lora_dist {
namespace {

// Ours and libraries' variables that ranks on other hosts get too; mpirun passes its own by itself.
constexpr const char* kForwardedPrefixes[] = {"LORA_DIST_", "OMP_", "GLOO_", "NCCL_"};

std::string find_mpirun() {
  const std::string path = variable("PATH").value_or("/usr/local/bin:/usr/bin:/bin");
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find(':', begin), path.size());
    const std::string candidate = path.substr(begin, end - begin) + "/mpirun";
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
    begin = end + 1;
  }
  throw ConfigError(
      {.where = "--ranks",
       .found = "mpirun is not in PATH",
       .expected = {},
       .fix = "`apt install openmpi-bin`, or leave --ranks out to train with one process"});
}

std::vector<std::string> without_launch_options(const std::vector<std::string>& arguments) {
  std::vector<std::string> kept;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    const std::string name = word.substr(0, word.find('='));
    if (name != "--ranks" && name != "--hosts" && name != "--hostfile") {
      kept.push_back(word);
    } else if (name == word) {
      ++i;  // its value is the next word
    }
  }
  return kept;
}

bool is_forwarded(std::string_view assignment) {
  for (const std::string_view prefix : kForwardedPrefixes)
    if (assignment.starts_with(prefix)) return true;
  return false;
}

[[noreturn]] void become_mpirun(const std::string& mpirun, const std::vector<std::string>& words,
                                const sigset_t& mask, const RelayedErrors& errors) {
  errors.take_over_in_child();
  // Its own process group: Ctrl-C at the terminal reaches the supervisor alone. A background group
  // may not read the terminal, so its input is empty.
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  const int no_input = open("/dev/null", O_RDONLY);
  if (no_input >= 0) dup2(no_input, STDIN_FILENO);
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  execv(mpirun.c_str(), argv.data());
  _exit(127);
}

struct Outcome {
  int code = 0;
  bool was_asked_to_stop = false;
};

/// Waits for the child while turning signals into what its ranks understand.
Outcome supervise(pid_t child, const sigset_t& watched) {
  int num_stop_requests = 0;
  bool interrupted = false;
  for (;;) {
    const int signal = sigwaitinfo(&watched, nullptr);
    if (signal < 0) continue;  // EINTR: stopped and continued
    if (signal == SIGUSR1 || signal == SIGUSR2) kill(child, signal);
    if (signal == SIGHUP && num_stop_requests++ == 0) kill(child, SIGUSR1);
    if (signal == SIGTERM || signal == SIGINT) {
      interrupted = interrupted || (signal == SIGINT && num_stop_requests == 0);
      kill(child, num_stop_requests++ == 0 ? SIGUSR1 : SIGTERM);
    }
    if (signal != SIGCHLD) continue;
    int status = 0;
    if (waitpid(child, &status, WNOHANG) != child || WIFSTOPPED(status)) continue;
    const bool asked = num_stop_requests > 0;
    if (WIFSIGNALED(status)) return {128 + WTERMSIG(status), asked};
    const int code = WEXITSTATUS(status);
    return {interrupted && code == kExitStopped ? 128 + SIGINT : code, asked};
  }
}

/// A rank that a signal ended before the others knew it has told nobody.
void explain_killed_rank(int code) {
  for (const int signal : {SIGKILL, SIGSEGV, SIGBUS})
    if (code == 128 + signal)
      log_error(
          fmt::format("a rank was ended by signal {} ({}); if nobody sent it, memory ran out: "
                      "the kernel's log (dmesg) says so",
                      signal, strsignal(signal)));
}

LaunchSite look_around() {
  LaunchSite site;
  site.program = program_to_start(std::filesystem::read_symlink("/proc/self/exe").string());
  site.num_cores = num_available_cores();
  site.is_root = geteuid() == 0;
  site.hosts_are_managed =
      variable("SLURM_JOB_NODELIST") || variable("OMPI_MCA_orte_default_hostfile");
  return site;
}

/// Quiet ranks, and cables that are noticed (reliability 14). What the user has set stays.
void prepare_environment(bool oversubscribed) {
  setenv("OMPI_MCA_opal_stacktrace_output", "none", /*overwrite=*/0);
  setenv("OMPI_MCA_oob_tcp_keepalive_time", "5", 0);
  setenv("OMPI_MCA_oob_tcp_keepalive_intvl", "2", 0);
  setenv("OMPI_MCA_oob_tcp_keepalive_probes", "3", 0);
  setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none",
         0);  // needs ptrace rights that containers do not give
  // libgomp reads this before main: only a parent can set it. Spinning threads would hold cores
  // that others wait for.
  if (oversubscribed) setenv("OMP_WAIT_POLICY", "passive", 0);
}

}  // namespace

std::vector<std::string> mpirun_command(const LaunchRequest& request, const LaunchSite& site,
                                        const std::vector<std::string>& arguments) {
  const bool one_host =
      request.hosts.empty() && request.hostfile.empty() && !site.hosts_are_managed;
  // Threads of a rank spread by themselves; a slot is a hardware thread, as the affinity mask
  // counts them.
  std::vector<std::string> words = {"mpirun", "--quiet", "--bind-to", "none",
                                    "--use-hwthread-cpus"};
  if (request.num_ranks > 0) words.insert(words.end(), {"-n", std::to_string(request.num_ranks)});
  if (site.is_root) words.push_back("--allow-run-as-root");
  if (one_host && request.num_ranks > site.num_cores) words.push_back("--oversubscribe");
  if (!request.hosts.empty()) words.insert(words.end(), {"--host", request.hosts});
  if (!request.hostfile.empty()) words.insert(words.end(), {"--hostfile", request.hostfile});
  for (char** entry = environ; *entry && !one_host; ++entry) {
    const std::string assignment = *entry;
    if (is_forwarded(assignment))
      words.insert(words.end(), {"-x", assignment.substr(0, assignment.find('='))});
  }
  words.push_back(site.program);
  const std::vector<std::string> kept = without_launch_options(arguments);
  words.insert(words.end(), kept.begin(), kept.end());
  return words;
}

int run_under_mpirun(const LaunchRequest& request, const std::vector<std::string>& arguments) {
  const std::string mpirun = find_mpirun();
  const std::vector<std::string> words = mpirun_command(request, look_around(), arguments);
  prepare_environment(std::find(words.begin(), words.end(), "--oversubscribe") != words.end());

  sigset_t watched, before;
  sigemptyset(&watched);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD})
    sigaddset(&watched, signal);
  RelayedErrors errors;
  pthread_sigmask(SIG_BLOCK, &watched, &before);
  const pid_t child = fork();
  if (child == 0) become_mpirun(mpirun, words, before, errors);
  if (child < 0) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw MemoryError({.where = "--ranks",
                       .found = fmt::format("cannot start mpirun: {}", std::strerror(errno)),
                       .expected = {},
                       .fix = "free memory or raise the limit of processes"});
  }
  errors.start();
  const Outcome outcome = supervise(child, watched);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  const bool is_told = errors.finish() || outcome.was_asked_to_stop;
  if (!is_told) explain_killed_rank(outcome.code);
  explain_failed_start(request, outcome.code);
  return outcome.code;
}

}  // namespace lora_dist
