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

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "launcher/environments/environment.hpp"
#include "launcher/environments/failed_start.hpp"
#include "launcher/environments/hosts.hpp"
#include "launcher/environments/library_path.hpp"
#include "launcher/environments/relayed_errors.hpp"
#include "launcher/environments/typed_command.hpp"
#include "launcher/environments/variables.hpp"

namespace lora_dist {
namespace {

constexpr int kEndedByMpirun = 1;  // it did not begin, or was told to end the ranks at once
constexpr int kHostLost = 205;     // mpirun's

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

bool is_ignored(int signal) {
  struct sigaction action {};
  sigaction(signal, nullptr, &action);
  return action.sa_handler == SIG_IGN;
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
  bool ranks_were_told = true;  // of a request to stop: else nobody has said that it was heard
};

constexpr timespec kAskAgain = {.tv_sec = 0, .tv_nsec = 500'000'000};

/// How a run ended that was asked to stop, once or more often: with 130 after Ctrl-C, else 75; one
/// that ended by itself, or with an error of its own, keeps its code.
Outcome outcome_of_stopped(int code, bool interrupted, bool asked_twice) {
  const bool before_ranks =
      code == kEndedByMpirun || code == 128 + SIGUSR1 || code == 128 + SIGTERM;
  if (code == kExitStopped || before_ranks || (asked_twice && code > 128))
    return {.code = interrupted ? kExitInterrupted : kExitStopped,
            .ranks_were_told = asked_twice || !before_ranks};
  return {.code = code == 0 && interrupted ? kExitInterrupted : code};
}

/// Waits for the child while turning signals into what its ranks understand.
Outcome supervise(pid_t child, const sigset_t& watched) {
  int num_stop_requests = 0;
  bool interrupted = false;
  for (;;) {
    // A request that comes while mpirun starts reaches no rank: it is made again, which ranks that
    // have heard it do not mind.
    const int signal = num_stop_requests == 1 ? sigtimedwait(&watched, nullptr, &kAskAgain)
                                              : sigwaitinfo(&watched, nullptr);
    if (signal < 0) {  // EINTR: stopped and continued
      if (errno == EAGAIN) kill(child, SIGUSR1);
      continue;
    }
    if (signal == SIGUSR2) kill(child, signal);
    if (signal == SIGUSR1 || signal == SIGHUP) {
      if (num_stop_requests++ == 0) kill(child, SIGUSR1);
    }
    if (signal == SIGTERM || signal == SIGINT) {
      interrupted = interrupted || signal == SIGINT;
      kill(child, num_stop_requests++ == 0 ? SIGUSR1 : SIGTERM);
    }
    if (signal != SIGCHLD) continue;
    int status = 0;
    if (waitpid(child, &status, WNOHANG) != child || WIFSTOPPED(status)) continue;
    const int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (num_stop_requests == 0) return {.code = code};
    return outcome_of_stopped(code, interrupted, num_stop_requests > 1);
  }
}

void tell_killed_rank(const KilledRank& killed) {
  const bool by_hand = killed.signal == SIGKILL || killed.signal == SIGTERM;
  log_error(fmt::format(
      "rank {} on host {} {} (signal {}, {}); {}; the same command again goes on from the newest "
      "checkpoint",
      killed.rank, killed.host, by_hand ? "was killed" : "crashed", killed.signal,
      strsignal(killed.signal),
      killed.signal == SIGKILL
          ? "if nobody sent it, memory ran out: the kernel's log (dmesg) says so"
          : "the log files of the ranks may say more"));
}

/// Why the ranks ended, where none of them has said it.
void explain_silent_end(const LaunchRequest& request, const LaunchRequest& given_to_mpirun,
                        int code, const RelayedErrors& errors) {
  if (const std::optional<KilledRank> killed = errors.killed_rank())
    return tell_killed_rank(*killed);
  if (const std::optional<std::string> host = errors.lost_host())
    throw CommError({.where = fmt::format("host {}", *host),
                     .found = "mpirun lost its connection to it",
                     .expected = {},
                     .fix =
                         "look at that host and the network; the same command again goes on from "
                         "the newest checkpoint"});
  explain_failed_start(request, code);
  std::string words = errors.words_of_mpirun();
  const size_t copy =
      given_to_mpirun.hostfile.empty() ? std::string::npos : words.find(given_to_mpirun.hostfile);
  if (copy != std::string::npos)
    words.replace(copy, given_to_mpirun.hostfile.size(), request.hostfile);
  if (words.empty() && code == 128 + SIGKILL)
    words = "killed; if nobody did it, memory ran out: the kernel's log (dmesg) says so";
  log_error(fmt::format("mpirun: ended with code {}{}", code,
                        words.empty()
                            ? " and without a word; the log files of the ranks may say more"
                            : fmt::format(" [{}]", words)));
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

/// Ranks of this host alone: far more of them than cores are a slip of the keyboard that would take
/// the whole machine along.
void require_sensible_number(const LaunchRequest& request) {
  if (!request.hosts.empty() || !request.hostfile.empty()) return;
  constexpr int64_t kAlwaysFine = 64, kPerCore = 8;
  const int64_t cores = sysconf(_SC_NPROCESSORS_ONLN);
  const int64_t most = std::max(kAlwaysFine, kPerCore * cores);
  if (request.num_ranks > most)
    throw ConfigError({.where = "--ranks",
                       .found = fmt::format("{} on a host of {} cores", request.num_ranks, cores),
                       .expected = fmt::format("at most {} here", most),
                       .fix = fmt::format("write --ranks {}, or name more hosts", cores)});
}

}  // namespace

bool asks_for_ranks(const LaunchRequest& request, const WorldInfo& world) {
  const bool names_hosts = !request.hosts.empty() || !request.hostfile.empty();
  if (world.launcher == "alone") return request.num_ranks > 1 || names_hosts;
  if (request.num_ranks > 0 && request.num_ranks != world.world_size)
    throw ConfigError(
        {.where = "--ranks",
         .found = fmt::format("{}, but {} started {} rank{}", request.num_ranks, world.launcher,
                              world.world_size, world.world_size == 1 ? "" : "s"),
         .expected = {},
         .fix = fmt::format("leave --ranks out here, or start without {}", world.launcher)});
  if (names_hosts)
    throw ConfigError(
        {.where = request.hosts.empty() ? "--hostfile" : "--hosts",
         .found = fmt::format("given to a rank that {} started", world.launcher),
         .expected = {},
         .fix = fmt::format("give the hosts to {}, or start without it", world.launcher)});
  return false;
}

std::vector<std::string> mpirun_command(const LaunchRequest& request, const LaunchSite& site,
                                        const std::vector<std::string>& arguments) {
  const bool one_host =
      request.hosts.empty() && request.hostfile.empty() && !site.hosts_are_managed;
  // Threads of a rank spread by themselves; a slot is a hardware thread, as the affinity mask
  // counts them.
  std::vector<std::string> words = {"mpirun", "--bind-to", "none", "--use-hwthread-cpus"};
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
  require_sensible_number(request);
  const std::string mpirun = find_mpirun();
  LaunchRequest clean = request;
  const std::vector<NamedHost> hosts = named_hosts(request);
  std::optional<HostfileCopy> hostfile;
  if (!request.hostfile.empty()) clean.hostfile = hostfile.emplace(hosts).path();
  hand_on_typed_command();
  const std::vector<std::string> words = mpirun_command(clean, look_around(), arguments);
  prepare_environment(std::find(words.begin(), words.end(), "--oversubscribe") != words.end());

  sigset_t watched, before;
  sigemptyset(&watched);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGCHLD}) sigaddset(&watched, signal);
  if (!is_ignored(SIGHUP)) sigaddset(&watched, SIGHUP);  // nohup
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
  errors.finish();
  const bool is_told = errors.tell_errors();
  if (!outcome.ranks_were_told) log_info("stopped on request; nothing was trained");
  const bool is_stopped =  // a request may come past us: the ranks say so by themselves
      outcome.code == kExitStopped || outcome.code == kExitInterrupted;
  if (outcome.code != 0 && !is_stopped && !is_told)
    explain_silent_end(request, clean, outcome.code, errors);
  if (outcome.code == kHostLost) return CommError({}).exit_code();
  return outcome.code == kEndedByMpirun ? ConfigError({}).exit_code() : outcome.code;
}

}  // namespace lora_dist
