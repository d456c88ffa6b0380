// A file that grows while a run goes on. The first failure is one warning; from then on it is off.
#pragma once

#include <string>
#include <string_view>

namespace lora_dist {

class ReportFile {
 public:
  ReportFile() = default;
  ~ReportFile();
  ReportFile(const ReportFile&) = delete;
  ReportFile& operator=(const ReportFile&) = delete;

  /// Opens `path` for appending; it is made if missing. Never throws.
  void open(const std::string& path);
  /// One write per call, not buffered: what was reported can be read at once, also after a kill.
  /// Never throws.
  void append(std::string_view bytes);

 private:
  void switch_off(int error);

  std::string path_;
  int descriptor_ = -1;
};

/// A step is reported every `logging_steps` and at the end of the run.
inline bool is_logged(int64_t step, int64_t num_steps, int64_t logging_steps) {
  return logging_steps <= 1 || step % logging_steps == 0 || step == num_steps;
}

}  // namespace lora_dist
