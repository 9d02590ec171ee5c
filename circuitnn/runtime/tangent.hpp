// Forward mode of circuitnn::simulate: the run and its derivatives in many directions at once, eight of them side by
// side in a vector register.
#pragma once

#include "circuitnn.hpp"

namespace circuitnn {

// How many directions a block has.
typedef DoubleLanes Directions;
constexpr int width = Traits<Directions>::lanes;
// The same in memory that comes from outside, which is aligned to a double only.
typedef Directions Outside __attribute__((aligned(sizeof(double))));

// What a circuit's rows (x', y, r) are multiplied with: x, u, 1, i and, unless plain, v.
template <class Circuit>
constexpr int factors = Layout<Circuit>::X + Layout<Circuit>::U + (Circuit::plain ? 1 : 2) * Layout<Circuit>::N;

// The derivatives of theta in `blocks` times `width` directions. A component value changes the rows by a matrix of rank
// one (or a few of them), so a block has few entries: what an entry adds to the rows is `left` times one scalar product
// of a sample's factors with a row of `right`, own to each direction and mostly that of its component. Any derivative
// can be written so, with the identity as `right`.
struct ThetaTangent {
    int64_t blocks, groups;      // of `width` directions, of `width` rows of `right`
    const int64_t* first;        // [blocks + 1]: each block's first entry, and the number of all
    const int64_t* chosen;       // [entries, width]: which row of `right`
    const double* right;         // [points, groups, factors, width]
    const double* left;          // [points, entries, rows, width]
    const int64_t* on_devices;   // [blocks]: whether any coefficient of the devices moves
    const double* coefficients;  // [points, blocks, coefficients, width]
    double* products;            // [2, groups, width]: room for the scalar products of a sample
};

// sum[first..last) += columns[count][first..last) factor[count], by as many rows as fit into registers.
template <int first, int last, int count, class Columns>
CIRCUITNN_INLINE inline void add_columns(Directions* sum, const Columns* columns, const Directions* factor) {
    if constexpr (first < last && count > 0) {
        constexpr int most = 12, rows = last - first < most ? last - first : most;
        Directions part[rows];
        CIRCUITNN_UNROLL
        for (int row = 0; row < rows; ++row) part[row] = sum[first + row];
        for (int k = 0; k < count; ++k) {
            CIRCUITNN_UNROLL
            for (int row = 0; row < rows; ++row) part[row] += columns[k][first + row] * factor[k];
        }
        CIRCUITNN_UNROLL
        for (int row = 0; row < rows; ++row) sum[first + row] = part[row];
        add_columns<first + rows, last, count>(sum, columns, factor);
    }
}

// The derivatives of one sample, block by block. Stands between two points of theta, `late` of the way.
template <class Circuit>
struct TangentStep {
    using L = Layout<Circuit>;
    using Stages = typename Circuit::Stages;
    static constexpr int X = L::X, U = L::U, Y = L::Y, N = L::N, slots = at_least_one(N);
    static constexpr int widest = Stages::widest, entries = at_least_one(L::coefficients) * widest;

    const Numbers<Circuit, double>& numbers;
    Solver<Circuit, double>& solver;
    const ThetaTangent& change;
    int64_t point = 0;
    double late = 0.0;
    double factor[factors<Circuit>];
    double dv_dc[entries], di_dc[entries];  // of the devices at the solution

    TangentStep(const Numbers<Circuit, double>& numbers_, Solver<Circuit, double>& solver_, const ThetaTangent& change_)
        : numbers(numbers_), solver(solver_), change(change_) {}

    // visit(point of theta, its weight, 0 or 1)
    template <class Visit>
    CIRCUITNN_INLINE void each_point(Visit&& visit) const {
        visit(point, 1.0 - late, 0);
        if (late > 0.0) visit(point + 1, late, 1);
    }

    // What all blocks need: the devices at the solution, and the scalar products.
    CIRCUITNN_INLINE void prepare(const double* state, const double* input) {
        for (int k = 0; k < X; ++k) factor[k] = state[k];
        for (int k = 0; k < U; ++k) factor[X + k] = input[k];
        if constexpr (N > 0) {
            solver.differentiate(solver.w, dv_dc, di_dc);
            for (int k = 0; k < N; ++k) {
                factor[X + U + k] = solver.i[k];
                if constexpr (!Circuit::plain) factor[X + U + N + k] = solver.v[k];
            }
        }
        each_point([&](int64_t at, double weight, int64_t which) CIRCUITNN_INLINE {
            const Outside* right = reinterpret_cast<const Outside*>(change.right) + at * change.groups * factors<Circuit>;
            Outside* product = reinterpret_cast<Outside*>(change.products) + which * change.groups;
            for (int64_t group = 0; group < change.groups; ++group, right += factors<Circuit>) {
                Directions sum{};
                for (int k = 0; k < factors<Circuit>; ++k) sum += right[k] * factor[k];
                product[group] = sum * weight;
            }
        });
    }

    // dstate [n_x] of one block to the next sample; dout [n_y] at `stride`: of the output. dinput [n_u] or null.
    CIRCUITNN_INLINE void advance(int64_t block, Outside* dstate, const Directions* dinput, Outside* dout,
                                  int64_t stride) const {
        // x', y, and r: then the devices' variables.
        Directions row[X + Y + slots] = {}, before[at_least_one(X)];
        add_change(block, row);
        for (int k = 0; k < X; ++k) before[k] = dstate[k];
        add_columns<0, X + Y + N, X>(row, numbers.state, before);
        if (dinput) add_columns<0, X + Y + N, U - 1>(row, numbers.input, dinput);
        if constexpr (N > 0) {
            Directions dv[slots] = {}, di[slots] = {}, df[slots];
            if (change.on_devices[block])
                solve<true>(block, row + X + Y, dv, di);
            else
                solve<false>(block, row + X + Y, dv, di);
            for (int k = 0; k < N; ++k) {
                const int position = Circuit::free_ports[k];
                df[k] = position < N ? dv[position] : di[position - N];
            }
            add_columns<0, X + Y, N>(row, numbers.free, df);
        }
        for (int k = 0; k < X; ++k) dstate[k] = row[k];
        for (int k = 0; k < Y; ++k) dout[k * stride] = row[X + k];
    }

  private:
    // What moves the rows because theta moves.
    CIRCUITNN_INLINE void add_change(int64_t block, Directions* row) const {
        constexpr int rows = X + Y + N;
        each_point([&](int64_t at, double, int64_t which) CIRCUITNN_INLINE {
            const double* product = change.products + which * change.groups * width;
            for (int64_t entry = change.first[block]; entry < change.first[block + 1]; ++entry) {
                const int64_t* chosen = change.chosen + entry * width;
                const Outside* left =
                    reinterpret_cast<const Outside*>(change.left) + (at * change.first[change.blocks] + entry) * rows;
                Directions own;
                for (int lane = 0; lane < width; ++lane) own[lane] = product[chosen[lane]];
                CIRCUITNN_UNROLL
                for (int k = 0; k < rows; ++k) row[k] += left[k] * own;
            }
        });
    }

    // dv and di at fixed variables of the devices: what moves them because their coefficients move.
    CIRCUITNN_INLINE void move_devices(int64_t block, Directions* dv, Directions* di) const {
        each_point([&](int64_t at, double weight, int64_t) CIRCUITNN_INLINE {
            const Outside* d =
                reinterpret_cast<const Outside*>(change.coefficients) + (at * change.blocks + block) * L::coefficients;
            Stages::each_law([&](auto law, auto port, auto coefficient) CIRCUITNN_INLINE {
                using Law = decltype(law);
                constexpr int p = decltype(port)::value, c = decltype(coefficient)::value, K = Law::coefficients;
                for (int k = 0; k < Law::ports; ++k)
                    for (int j = 0; j < K; ++j) {
                        if constexpr (!Law::voltage_is_variable)
                            dv[p + k] += weight * dv_dc[c * widest + k * K + j] * d[c + j];
                        di[p + k] += weight * di_dc[c * widest + k * K + j] * d[c + j];
                    }
            });
        });
    }

    // From the derivatives of r to those of the devices' variables (in their place), v and i, stage by stage.
    template <bool on_devices>
    CIRCUITNN_INLINE void solve(int64_t block, Directions* dw, Directions* dv, Directions* di) const {
        if constexpr (on_devices) move_devices(block, dv, di);
        Stages::each([&](auto stage, auto port, auto) CIRCUITNN_INLINE {
            using S = decltype(stage);
            constexpr int p = decltype(port)::value;
            const auto& coupling = numbers.couplings.template stage<p>();
            const auto& at = solver.points.template stage<p>();
            // What is known of the ports: of those of earlier stages all, of the own what their coefficients do.
            constexpr int count = on_devices ? p + S::ports : p;
            Directions known[S::ports] = {};
            if constexpr (!Circuit::plain) add_columns<0, S::ports, count>(known, coupling.P, dv);
            add_columns<0, S::ports, count>(known, coupling.Q, di);
            for (int k = 0; k < S::ports; ++k) {
                dw[p + k] -= known[k];
                if constexpr (Circuit::plain) dw[p + k] -= dv[p + k];
            }
            at.J.solve_all(dw + p);
            S::template each<0, 0>([&](auto law, auto first, auto) CIRCUITNN_INLINE {
                using Law = decltype(law);
                constexpr int q = decltype(first)::value, M = S::widest;
                for (int k = q; k < q + Law::ports; ++k) {
                    if constexpr (Law::voltage_is_variable) dv[p + k] += dw[p + k];
                    for (int column = 0; column < Law::ports; ++column) {
                        const Directions& step = dw[p + q + column];
                        if constexpr (!Law::voltage_is_variable) dv[p + k] += at.dv[k * M + column] * step;
                        di[p + k] += at.di[k * M + column] * step;
                    }
                }
            });
        });
    }
};

// Forward mode of one recording, with the run itself. In blocks of `width` directions: dx [blocks, n_x, width] in the
// start, out the end; du [length, n_u, blocks * width] or null; dy [length, n_y, blocks * width].
template <class Circuit>
void tangent(const Batch& batch, const double* u, double* x, double* w, const double* theta, const ThetaTangent& change,
             double* dx, const double* du, double* y, double* dy, Statistics& statistics, const Options& options = {}) {
    using L = Layout<Circuit>;
    constexpr int X = L::X, U = L::U, Y = L::Y, N = L::N;
    Numbers<Circuit, double> numbers{}, gain{};
    Solver<Circuit, double> solver(numbers, options);
    TangentStep<Circuit> step(numbers, solver, change);
    double input[U], state[at_least_one(X)];
    Directions dinput[U] = {};
    input[U - 1] = 1.0;
    for (int k = 0; k < X; ++k) state[k] = x[k];
    for (int64_t stretch = 0; stretch < batch.blocks(); ++stretch) {
        load_block<Circuit, double>(batch, theta, stretch, numbers, gain);
        step.point = stretch;
        if (stretch == 0) solver.start(w);
        for (int64_t n = batch.begin(stretch); n < batch.end(stretch); ++n) {
            if (batch.points > 1) {
                step.late = double(n - batch.begin(stretch)) / double(batch.hold);
                if (n > batch.begin(stretch)) add_numbers<double>(numbers, gain, 1);
            }
            for (int k = 0; k < U - 1; ++k) input[k] = u[n * (U - 1) + k];
            Column<double, X + Y + N> sum;
            sum.clear();
            for (int k = 0; k < U; ++k) sum.add(numbers.input[k], input[k]);
            for (int k = 0; k < X; ++k) sum.add(numbers.state[k], state[k]);
            if constexpr (N > 0) solver.solve(&sum[X + Y], n, &statistics);
            step.prepare(state, input);
            for (int k = 0; k < N; ++k) sum.add(numbers.free[k], solver.free_quantity(k));
            for (int64_t block = 0; block < change.blocks; ++block) {
                if (du)
                    for (int k = 0; k < U - 1; ++k)
                        dinput[k] = reinterpret_cast<const Outside*>(du)[(n * (U - 1) + k) * change.blocks + block];
                step.advance(block, reinterpret_cast<Outside*>(dx) + block * X, du ? dinput : nullptr,
                             reinterpret_cast<Outside*>(dy) + n * Y * change.blocks + block, change.blocks);
            }
            for (int k = 0; k < X; ++k) state[k] = sum[k];
            for (int k = 0; k < Y; ++k) y[n * Y + k] = sum[X + k];
        }
    }
    for (int k = 0; k < X; ++k) x[k] = state[k];
    for (int k = 0; k < N; ++k) w[k] = solver.w[k];
}

}  // namespace circuitnn
