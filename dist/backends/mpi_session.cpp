#include "dist/backends/mpi_session.hpp"

#include <exception>
#include <future>
#include <numeric>

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

constexpr double kFinalizeTimeoutS = 10;  // reliability 8

void require_same_world(const WorldInfo& world) {
  int rank = 0, size = 0;
  mpi_check(mpi().comm_rank(mpi().comm_world, &rank), "MPI_Comm_rank");
  mpi_check(mpi().comm_size(mpi().comm_world, &size), "MPI_Comm_size");
  if (rank == world.rank && size == world.world_size) return;
  throw ConfigError({.where = "environment",
                     .found = fmt::format("{} says rank {} of {}, MPI says rank {} of {}",
                                          world.launcher, world.rank, world.world_size, rank, size),
                     .expected = {},
                     .fix = "start with mpirun or `srun --mpi=pmix`, or use backend: gloo"});
}

/// MPI_Init waits for all ranks without a limit of its own. It runs on a thread that is left behind
/// when the limit passes; the error then ends the process. Returns the level of thread support.
int start_mpi(double timeout_s) {
  std::packaged_task<int()> start([] {
    int provided = 0;
    mpi().init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided);
    return provided;
  });
  std::future<int> provided = start.get_future();
  std::thread(std::move(start)).detach();
  if (provided.wait_for(std::chrono::duration<double>(timeout_s)) != std::future_status::ready)
    throw TransportError("not all ranks came to MPI_Init");
  return provided.get();
}

}  // namespace

void mpi_check(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  mpi().error_string(code, text, &length);
  throw TransportError(fmt::format("{} failed [{}]", call, std::string_view(text, length)));
}

std::shared_ptr<MpiSession> MpiSession::join(const WorldInfo& world, double timeout_s) {
  static std::weak_ptr<MpiSession> current;  // MPI itself belongs to the process
  std::shared_ptr<MpiSession> session = current.lock();
  if (!session) current = session = std::shared_ptr<MpiSession>(new MpiSession(timeout_s));
  require_same_world(world);
  return session;
}

MpiSession::MpiSession(double timeout_s) : exceptions_at_start_(std::uncaught_exceptions()) {
  int already = 0;
  mpi().initialized(&already);
  LD_CHECK(!already, "MPI was finalized in this process and cannot start again");
  const int provided = start_mpi(timeout_s);
  LD_CHECK(provided >= MPI_THREAD_SERIALIZED, "this MPI library has no thread support");
  mpi().comm_set_errhandler(mpi().comm_world, mpi().errors_return);
}

MpiSession::~MpiSession() {
  if (!finalize_ || std::uncaught_exceptions() > exceptions_at_start_) return;
  std::vector<MPI_Request> farewell(1);
  try {
    mpi_check(mpi().ibarrier(mpi().comm_world, &farewell[0]), "MPI_Ibarrier");
    if (!wait_for_requests(farewell, deadline_in(kFinalizeTimeoutS))) return;
  } catch (const TransportError&) {
    return;
  }
  mpi().finalize();
}

std::string MpiSession::broadcast_text(std::string text, Deadline deadline) {
  std::vector<MPI_Request> request(1);
  int64_t size = static_cast<int64_t>(text.size());
  mpi_check(mpi().ibcast(&size, 1, mpi().type_int64, 0, mpi().comm_world, &request[0]),
            "MPI_Ibcast");
  if (!wait_for_requests(request, deadline)) throw TransportError("rank 0 was not heard");
  text.resize(size);
  mpi_check(mpi().ibcast(text.data(), static_cast<int>(size), mpi().type_byte, 0, mpi().comm_world,
                         &request[0]),
            "MPI_Ibcast");
  if (!wait_for_requests(request, deadline)) throw TransportError("rank 0 was not heard");
  return text;
}

std::vector<std::string> MpiSession::gather_texts(const std::string& text, Deadline deadline) {
  int rank = 0, world_size = 0;
  mpi_check(mpi().comm_rank(mpi().comm_world, &rank), "MPI_Comm_rank");
  mpi_check(mpi().comm_size(mpi().comm_world, &world_size), "MPI_Comm_size");
  std::vector<MPI_Request> request(1);
  const int size = static_cast<int>(text.size());
  std::vector<int> sizes(world_size), begins(world_size);
  mpi_check(mpi().igather(&size, 1, mpi().type_int, sizes.data(), 1, mpi().type_int, 0,
                          mpi().comm_world, &request[0]),
            "MPI_Igather");
  if (!wait_for_requests(request, deadline)) throw TransportError("not every rank was heard");
  std::exclusive_scan(sizes.begin(), sizes.end(), begins.begin(), 0);
  std::string joined(begins.back() + sizes.back(), '\0');
  mpi_check(mpi().igatherv(text.data(), size, mpi().type_byte, joined.data(), sizes.data(),
                           begins.data(), mpi().type_byte, 0, mpi().comm_world, &request[0]),
            "MPI_Igatherv");
  if (!wait_for_requests(request, deadline)) throw TransportError("not every rank was heard");
  if (rank != 0) return {};
  std::vector<std::string> texts;
  for (int from = 0; from < world_size; ++from)
    texts.push_back(joined.substr(begins[from], sizes[from]));
  return texts;
}

bool wait_for_requests(std::vector<MPI_Request>& requests, Deadline deadline) {
  return poll_until(deadline, [&] {
    int complete = 0;
    mpi_check(mpi().testall(static_cast<int>(requests.size()), requests.data(), &complete,
                            MPI_STATUSES_IGNORE),
              "MPI_Testall");
    return complete != 0;
  });
}

ByteBlock::ByteBlock(int64_t bytes, int64_t largest_count) {
  if (bytes <= largest_count) {
    mpi_check(mpi().type_contiguous(static_cast<int>(bytes), mpi().type_byte, &type_),
              "MPI_Type_contiguous");
    mpi_check(mpi().type_commit(&type_), "MPI_Type_commit");
    return;
  }
  // blocks x largest_count bytes, then the rest: one struct of two parts, sent once.
  const int64_t num_blocks = bytes / largest_count, rest = bytes % largest_count;
  MPI_Datatype block, blocks;
  mpi_check(mpi().type_contiguous(static_cast<int>(largest_count), mpi().type_byte, &block),
            "MPI_Type_contiguous");
  mpi_check(mpi().type_contiguous(static_cast<int>(num_blocks), block, &blocks),
            "MPI_Type_contiguous");
  int lengths[] = {1, static_cast<int>(rest)};
  MPI_Aint offsets[] = {0, static_cast<MPI_Aint>(num_blocks * largest_count)};
  MPI_Datatype parts[] = {blocks, mpi().type_byte};
  mpi_check(mpi().type_create_struct(2, lengths, offsets, parts, &type_), "MPI_Type_create_struct");
  mpi_check(mpi().type_commit(&type_), "MPI_Type_commit");
  mpi().type_free(&block);
  mpi().type_free(&blocks);
}

ByteBlock::~ByteBlock() { mpi().type_free(&type_); }

}  // namespace lora_dist
