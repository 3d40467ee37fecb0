// plumb's products beside those of oneDNN (weights reordered once into the layout that it asks for)
// and Eigen, on the same matrices: the two of a 512-wide core's feed-forward. One thread each, so
// that kernels are compared and not teams. Run on an idle machine with
// --benchmark_enable_random_interleaving --benchmark_repetitions=9; compare medians of one run
// only.
#include <benchmark/benchmark.h>

#include <omp.h>

#include <Eigen/Core>
#include <dnnl.hpp>
#include <optional>

#include "bench/random_matrix.h"
#include "core/kernels/matmul_bf16.h"

namespace plumb {
namespace {

struct Shape {
  size_t rows, n_in, n_out;
};
Shape shape_of(const benchmark::State& state) {
  return {static_cast<size_t>(state.range(0)), static_cast<size_t>(state.range(1)),
          static_cast<size_t>(state.range(2))};
}

void count(benchmark::State& state, const Shape& shape) {
  state.counters["GFLOP/s"] =
      benchmark::Counter(2e-9 * static_cast<double>(shape.rows * shape.n_in * shape.n_out),
                         benchmark::Counter::kIsIterationInvariantRate);
}

void BM_Plumb(benchmark::State& state, WeightType type, bool rounded_inputs) {
  const Shape shape = shape_of(state);
  Team team(1);
  const PackedMatrix w = random_matrix(type, shape.n_out, shape.n_in);
  Mat<float> x(shape.rows, shape.n_in), y(shape.rows, shape.n_out);
  x.fill(0.5F);
  for (auto _ : state) {
    if (rounded_inputs)
      matmul_bf16(team, x, w, y);
    else
      matmul(team, x, w, y);
  }
  count(state, shape);
}

// bf16: inputs and weights in bf16, outputs in f32; rounding the inputs is not counted.
void BM_OneDnn(benchmark::State& state, dnnl::memory::data_type type) {
  using dnnl::memory;
  omp_set_num_threads(1);
  const Shape shape = shape_of(state);
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const auto rows = static_cast<memory::dim>(shape.rows),
             n_in = static_cast<memory::dim>(shape.n_in),
             n_out = static_cast<memory::dim>(shape.n_out);
  std::optional<dnnl::matmul::primitive_desc> product;
  try {
    const dnnl::matmul::desc wanted(
        {{rows, n_in}, type, memory::format_tag::ab},
        {{n_in, n_out}, type, memory::format_tag::any},
        {{rows, n_out}, memory::data_type::f32, memory::format_tag::ab});
    product.emplace(wanted, engine);
  } catch (const dnnl::error& error) {
    return state.SkipWithError(error.what());  // no bf16 on this machine
  }
  memory plain({{n_in, n_out}, memory::data_type::f32, memory::format_tag::ba},
               engine);  // rows are outputs, as stored
  auto* weights = static_cast<float*>(plain.get_data_handle());
  for (size_t r = 0; r < shape.n_out; ++r)
    std::ranges::copy(random_row(r, shape.n_in), weights + r * shape.n_in);
  memory packed(product->weights_desc(), engine), x(product->src_desc(), engine),
      y(product->dst_desc(), engine);
  dnnl::reorder(plain, packed).execute(stream, plain, packed);
  std::memset(x.get_data_handle(), 0, product->src_desc().get_size());
  const dnnl::matmul primitive(*product);
  for (auto _ : state) {
    primitive.execute(stream, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, packed}, {DNNL_ARG_DST, y}});
    stream.wait();
  }
  state.SetLabel(product->impl_info_str());
  count(state, shape);
}

void BM_Eigen(benchmark::State& state) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  Eigen::setNbThreads(1);
  const Shape shape = shape_of(state);
  const auto rows = static_cast<Eigen::Index>(shape.rows),
             n_in = static_cast<Eigen::Index>(shape.n_in),
             n_out = static_cast<Eigen::Index>(shape.n_out);
  Matrix w(n_out, n_in), x = Matrix::Constant(rows, n_in, 0.5F), y(rows, n_out);
  for (Eigen::Index r = 0; r < n_out; ++r)
    std::ranges::copy(random_row(static_cast<size_t>(r), shape.n_in), w.row(r).data());
  for (auto _ : state) {
    y.noalias() = x * w.transpose();
    benchmark::DoNotOptimize(y.data());
  }
  count(state, shape);
}

void shapes(benchmark::internal::Benchmark* bench) {
  for (const int64_t rows : {1, 8, 16, 512})
    for (const auto& [n_in, n_out] : {std::pair<int64_t, int64_t>{512, 2816}, {1408, 512}})
      bench->Args({rows, n_in, n_out});
  bench->ArgNames({"rows", "in", "out"})->UseRealTime();
}

BENCHMARK_CAPTURE(BM_Plumb, f32, WeightType::kF32, false)->Apply(shapes);
BENCHMARK_CAPTURE(BM_OneDnn, f32, dnnl::memory::data_type::f32)->Apply(shapes);
BENCHMARK(BM_Eigen)->Name("BM_Eigen/f32")->Apply(shapes);
BENCHMARK_CAPTURE(BM_Plumb, bf16, WeightType::kBF16, true)->Apply(shapes);
BENCHMARK_CAPTURE(BM_OneDnn, bf16, dnnl::memory::data_type::bf16)->Apply(shapes);
BENCHMARK_CAPTURE(BM_Plumb, int8, WeightType::kI8, false)->Apply(shapes);

}  // namespace
}  // namespace plumb
