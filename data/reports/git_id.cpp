#include "data/reports/git_id.hpp"

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "core/base/error.hpp"
#include "data/io/files.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxRefBytes = size_t{1} << 12;
constexpr size_t kMaxPackedRefsBytes = size_t{64} << 20;

/// Without the newline at its end.
std::string line_in(const fs::path& file) {
  std::string text = read_file(file.string(), kMaxRefBytes);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

bool is_commit(const std::string& text) {
  return (text.size() == 40 || text.size() == 64) &&  // SHA-1 or SHA-256
         std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return std::isxdigit(c) != 0; });
}

/// .git of the repository around `path`; in a worktree or submodule .git is a file that names it.
std::optional<fs::path> git_folder(const std::string& path) {
  for (fs::path folder = fs::weakly_canonical(path); true; folder = folder.parent_path()) {
    const fs::path git = folder / ".git";
    if (fs::is_directory(git)) return git;
    if (fs::is_regular_file(git)) {
      static const std::string kPrefix = "gitdir: ";
      const std::string line = line_in(git);
      if (!line.starts_with(kPrefix)) return std::nullopt;
      return folder / line.substr(kPrefix.size());  // an absolute path replaces `folder`
    }
    if (folder == folder.parent_path()) return std::nullopt;
  }
}

/// The commit under "refs/heads/main": a file of that name, or a line of packed-refs.
std::string commit_of(const fs::path& git, const std::string& reference) {
  if (fs::exists(git / reference)) return line_in(git / reference);
  if (!fs::exists(git / "packed-refs")) return {};
  std::istringstream packed(read_file((git / "packed-refs").string(), kMaxPackedRefsBytes));
  for (std::string line; std::getline(packed, line);) {
    const size_t space = line.find(' ');
    if (space != std::string::npos && line.substr(space + 1) == reference)
      return line.substr(0, space);
  }
  return {};
}

std::optional<GitId> read_git_id(const std::string& path) {
  const std::optional<fs::path> git = git_folder(path);
  if (!git) return std::nullopt;
  static const std::string kReference = "ref: ", kBranch = "refs/heads/";
  const std::string head = line_in(*git / "HEAD");
  if (is_commit(head)) return GitId{head, ""};
  if (!head.starts_with(kReference)) return std::nullopt;
  const std::string reference = head.substr(kReference.size());
  std::string commit = commit_of(*git, reference);
  if (commit.empty() && fs::exists(*git / "commondir"))  // a worktree shares the branches
    commit = commit_of(*git / line_in(*git / "commondir"), reference);
  if (!is_commit(commit)) return std::nullopt;
  return GitId{commit,
               reference.starts_with(kBranch) ? reference.substr(kBranch.size()) : reference};
}

}  // namespace

std::optional<GitId> git_id_of(const std::string& path) {
  try {
    return read_git_id(path);
  } catch (const Error&) {
    return std::nullopt;
  } catch (const fs::filesystem_error&) {
    return std::nullopt;
  }
}

}  // namespace lora_dist
