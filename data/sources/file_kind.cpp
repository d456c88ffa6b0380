#include "data/sources/file_kind.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "data/sources/byte_window.hpp"
#include "data/sources/file_names.hpp"

namespace lora_dist {
namespace {

using namespace std::string_view_literals;

constexpr auto kFromPandas =
    "write it as JSON lines: pandas.read_parquet(F).to_json(G, orient='records', lines=True)";
constexpr auto kFromArrow = "write it as JSON lines: datasets.Dataset.from_file(F).to_json(G)";
constexpr auto kFromOffice = "save it as CSV (UTF-8) or plain text";
constexpr auto kUnpack = "unpack it first";
constexpr auto kFromUtf16 = "save it as UTF-8: iconv -f UTF-16 -t UTF-8 F > G";

struct Signature {
  std::string_view bytes;
  const char* name;
  const char* fix;
};
constexpr std::array<Signature, 14> kSignatures = {
    {{"PAR1"sv, "a parquet file", kFromPandas},
     {"ARROW1"sv, "an arrow file", kFromArrow},
     {"\xFF\xFF\xFF\xFF"sv, "an arrow stream", kFromArrow},
     {"FEA1"sv, "a feather file", kFromArrow},
     {"\x1F\x8B"sv, "compressed by gzip", "unpack it first: gunzip -k F"},
     {"BZh"sv, "compressed by bzip2", kUnpack},
     {"\xFD"
      "7zXZ"sv,
      "compressed by xz", kUnpack},
     {"\x28\xB5\x2F\xFD"sv, "compressed by zstd", kUnpack},
     {"7z\xBC\xAF"sv, "a 7z archive", kUnpack},
     {"%PDF"sv, "a PDF file", "save its text as .txt"},
     {"\xD0\xCF\x11\xE0"sv, "an old Office document", kFromOffice},
     {"SQLite format 3"sv, "an SQLite database", "export the table as CSV"},
     {"\xFF\xFE"sv, "text in UTF-16", kFromUtf16},
     {"\xFE\xFF"sv, "text in UTF-16", kFromUtf16}}};

constexpr std::array<std::string_view, 23> kForeignExtensions = {
    ".parquet", ".arrow", ".feather", ".xlsx", ".xls", ".ods",    ".docx", ".doc",
    ".odt",     ".pdf",   ".gz",      ".bz2",  ".xz",  ".zst",    ".zip",  ".7z",
    ".tar",     ".tgz",   ".rar",     ".db",   ".pkl", ".sqlite", ".npy"};

/// Text of mostly ASCII letters in two bytes each, without a byte order mark.
bool has_a_nul_in_every_other_byte(std::string_view head) {
  if (head.size() < 8) return false;
  for (const size_t first : {0, 1}) {
    size_t num_nul = 0;
    for (size_t i = first; i < head.size(); i += 2) num_nul += head[i] == '\0';
    if (num_nul * 2 == head.size() - head.size() % 2) return true;
  }
  return false;
}

ForeignKind kind_of_zip(const std::string& path) {
  const std::string extension = lower_extension(path);
  if (extension == ".xlsx" || extension == ".ods") return {"an Excel workbook", kFromOffice};
  if (extension == ".docx" || extension == ".odt") return {"a Word document", kFromOffice};
  return {"a zip archive", kUnpack};
}

}  // namespace

ForeignKind foreign_kind(const std::string& path) {
  constexpr size_t kHeadBytes = 64;
  ByteWindow bytes(path);
  size_t size = 0;
  while (size < kHeadBytes && bytes.at(size) != ByteWindow::kEnd) ++size;
  const std::string_view head = bytes.text(0, size);
  if (head.starts_with("PK\x03\x04")) return kind_of_zip(path);
  for (const Signature& signature : kSignatures)
    if (head.starts_with(signature.bytes)) return {signature.name, signature.fix};
  if (has_a_nul_in_every_other_byte(head)) return {"text in UTF-16", kFromUtf16};
  return {};
}

bool named_as_foreign(const std::string& path) {
  return std::ranges::count(kForeignExtensions, lower_extension(path)) > 0;
}

}  // namespace lora_dist
