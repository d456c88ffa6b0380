// Each non-blank line of a text file is one text, all of it learnt.
#include "data/sources/line_reader.hpp"
#include "data/sources/source_format.hpp"

namespace lora_dist {
namespace {

class LinesSource : public Source {
 public:
  explicit LinesSource(const std::string& path) : lines_(path) {}

  std::optional<Record> next() override {
    std::optional<Line> line = lines_.next_nonblank();
    if (!line) return std::nullopt;
    Record record;
    record.text = trimmed(line->text);
    record.where = lines_.where(line->number);
    return record;
  }

 private:
  LineReader lines_;
};

}  // namespace

SourceFormat lines_source() {
  return {.recognises_record = {},
          .recognises_text = [](const std::vector<std::string>&) { return true; },
          .open = [](const std::string& path) -> std::unique_ptr<Source> {
            return std::make_unique<LinesSource>(path);
          },
          .reading_version = 3};  // a carriage return alone ends a line
}

}  // namespace lora_dist
