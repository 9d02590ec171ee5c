// Small dense linear algebra: columns of numbers in registers, and the factors of a small matrix.
#pragma once

#include "numerics.hpp"

namespace circuitnn {

template <bool first, class A, class B>
struct Pick {
    using Type = A;
};
template <class A, class B>
struct Pick<false, A, B> {
    using Type = B;
};

constexpr int at_least_one(int n) { return n > 0 ? n : 1; }

// How a column of R numbers lies in registers: of one recording several rows in one, of several recordings one row each.
typedef double FourDoubles __attribute__((vector_size(32)));
typedef float EightFloats __attribute__((vector_size(32)));
template <class Real, int R>
struct Pack {
    using Type = Real;
    static constexpr int rows = 1;
};
template <int R>
struct Pack<double, R> {
    using Type = typename Pick<(R > 16), DoubleLanes, typename Pick<(R > 2), FourDoubles, double>::Type>::Type;
    static constexpr int rows = sizeof(Type) / sizeof(double);
};
template <int R>
struct Pack<float, R> {
    using Type = typename Pick<(R > 8), FloatLanes, typename Pick<(R > 2), EightFloats, float>::Type>::Type;
    static constexpr int rows = sizeof(Type) / sizeof(float);
};

// A column of R numbers, in whole packs; what pads it stays 0. `get` and `set` leave it in registers where the row is
// known to the compiler; operator[] is for columns that live in memory.
template <class Real, int R>
struct Column {
    using Part = typename Pack<Real, R>::Type;
    static constexpr int rows = Pack<Real, R>::rows, parts = at_least_one((R + rows - 1) / rows);
    Part part[parts];

    CIRCUITNN_INLINE Real& operator[](int row) { return reinterpret_cast<Real*>(part)[row]; }
    CIRCUITNN_INLINE const Real& operator[](int row) const { return reinterpret_cast<const Real*>(part)[row]; }

    CIRCUITNN_INLINE Real get(int row) const {
        if constexpr (rows == 1)
            return part[row];
        else
            return part[row / rows][row % rows];
    }
    CIRCUITNN_INLINE void set(int row, const Real& value) {
        if constexpr (rows == 1)
            part[row] = value;
        else
            part[row / rows][row % rows] = value;
    }

    CIRCUITNN_INLINE void clear() {
        for (int k = 0; k < parts; ++k) part[k] = Part{};
    }
    CIRCUITNN_INLINE void add(const Column& column) {
        for (int k = 0; k < parts; ++k) part[k] += column.part[k];
    }
    CIRCUITNN_INLINE void add(const Column& column, const Real& factor) {
        CIRCUITNN_UNROLL
        for (int k = 0; k < parts; ++k) part[k] += column.part[k] * factor;
    }
    CIRCUITNN_INLINE Real dot(const Column& other) const {
        Part sum = part[0] * other.part[0];
        for (int k = 1; k < parts; ++k) sum += part[k] * other.part[k];
        if constexpr (rows == 1) {
            return sum;
        } else {
            Real total = sum[0];
            for (int k = 1; k < rows; ++k) total += sum[k];
            return total;
        }
    }
    // Whether in any row below `row` the magnitude is more than ten times `pivot`; for lanes, in which of them.
    CIRCUITNN_INLINE MaskOf<Real> exceeds(int row, const Real& pivot) const {
        if constexpr (rows == 1) {
            Real largest{};
            CIRCUITNN_UNROLL
            for (int k = row + 1; k < R; ++k) largest = maximum(largest, absolute(part[k]));
            return largest * ScalarOf<Real>(0.1) > pivot;
        } else {
            Part largest{};
            CIRCUITNN_UNROLL
            for (int k = (row + 1) / rows; k < parts; ++k) {
                Part magnitude = part[k] < 0 ? -part[k] : part[k];
                CIRCUITNN_UNROLL
                for (int j = 0; j < rows; ++j)
                    if (k * rows + j <= row) magnitude[j] = 0;
                largest = magnitude > largest ? magnitude : largest;
            }
            Real most = largest[0];
            CIRCUITNN_UNROLL
            for (int j = 1; j < rows; ++j) most = maximum<Real>(most, largest[j]);
            return most * ScalarOf<Real>(0.1) > pivot;
        }
    }
};

// An N x N matrix J by columns, then its factors: the explicit inverse up to N = 2, else Gauss-Jordan elimination with
// threshold pivoting, each lane its own. A singular matrix gives solutions that are not finite.
template <int N, class Real>
struct Factors {
    using Mask = MaskOf<Real>;
    Column<Real, N> column[at_least_one(N)];  // J; then the inverse, or what each step of the elimination subtracts
    Column<Real, N> inverse;                  // one over each pivot
    Mask swapped[at_least_one(N)][at_least_one(N)];
    bool pivoted;

    // Factorises, and b becomes the solution of J b' = b.
    CIRCUITNN_INLINE void factorise(Column<Real, N>& b) {
        if constexpr (N == 1) {
            // The division does not wait for the inverse, which only the next sample needs.
            b.set(0, b.get(0) / column[0].get(0));
            factorise();
        } else if constexpr (N == 2) {
            factorise();
            solve(b);
        } else {
            eliminate(b);
            for (int k = 0; k < Column<Real, N>::parts; ++k) b.part[k] *= inverse.part[k];
        }
    }

    CIRCUITNN_INLINE void factorise() {
        using S = ScalarOf<Real>;
        if constexpr (N == 1) {
            column[0].set(0, S(1) / column[0].get(0));
        } else if constexpr (N == 2) {
            const Real a = column[0].get(0), b = column[1].get(0), c = column[0].get(1), d = column[1].get(1);
            const Real one_over = S(1) / (a * d - b * c);
            column[0].set(0, d * one_over);
            column[1].set(0, -b * one_over);
            column[0].set(1, -c * one_over);
            column[1].set(1, a * one_over);
        } else {
            Column<Real, N> none;
            none.clear();
            eliminate(none);
        }
    }

    // b becomes the solution of J b' = b.
    CIRCUITNN_INLINE void solve(Column<Real, N>& b) const {
        if constexpr (N == 1) {
            b.set(0, b.get(0) * column[0].get(0));
        } else if constexpr (N == 2) {
            const Real first = column[0].get(0) * b.get(0) + column[1].get(0) * b.get(1);
            b.set(1, column[0].get(1) * b.get(0) + column[1].get(1) * b.get(1));
            b.set(0, first);
        } else {
            CIRCUITNN_UNROLL
            for (int k = 0; k < N; ++k) {
                if (pivoted)
                    for (int row = k + 1; row < N; ++row) exchange(swapped[k][row], b, k, row);
                b.add(column[k], -b.get(k));
            }
            for (int k = 0; k < Column<Real, N>::parts; ++k) b.part[k] *= inverse.part[k];
        }
    }

    // The same for several right-hand sides of one recording, side by side in a vector.
    template <class Vector>
    CIRCUITNN_INLINE void solve_all(Vector* b) const {
        if constexpr (N == 1) {
            b[0] *= column[0].get(0);
        } else if constexpr (N == 2) {
            const Vector first = column[0].get(0) * b[0] + column[1].get(0) * b[1];
            b[1] = column[0].get(1) * b[0] + column[1].get(1) * b[1];
            b[0] = first;
        } else {
            for (int k = 0; k < N; ++k) {
                if (pivoted)
                    for (int row = k + 1; row < N; ++row)
                        if (swapped[k][row]) {
                            const Vector kept = b[k];
                            b[k] = b[row];
                            b[row] = kept;
                        }
                for (int row = 0; row < N; ++row)
                    if (row != k) b[row] -= column[k][row] * b[k];
            }
            for (int k = 0; k < N; ++k) b[k] *= inverse[k];
        }
    }

    // b becomes the solution of J^T b' = b.
    CIRCUITNN_INLINE void solve_transposed(Column<Real, N>& b) const {
        if constexpr (N == 1) {
            b.set(0, b.get(0) * column[0].get(0));
        } else if constexpr (N == 2) {
            const Real first = column[0].get(0) * b.get(0) + column[0].get(1) * b.get(1);
            b.set(1, column[1].get(0) * b.get(0) + column[1].get(1) * b.get(1));
            b.set(0, first);
        } else {
            for (int k = 0; k < Column<Real, N>::parts; ++k) b.part[k] *= inverse.part[k];
            CIRCUITNN_UNROLL
            for (int k = N - 1; k >= 0; --k) {
                b.set(k, b.get(k) - column[k].dot(b));
                if (pivoted)
                    for (int row = N - 1; row > k; --row) exchange(swapped[k][row], b, k, row);
            }
        }
    }

  private:
    CIRCUITNN_INLINE void eliminate(Column<Real, N>& b) {
        using S = ScalarOf<Real>;
        pivoted = false;
        inverse.clear();
        CIRCUITNN_UNROLL
        for (int k = 0; k < N; ++k) {
            // A pivot that is a good part of the largest entry below it is good enough.
            const Mask small = column[k].exceeds(k, absolute<Real>(column[k].get(k)));
            if (any(small)) {
                // On copies, so that the usual way stays in registers.
                Factors copy = *this;
                Column<Real, N> right = b;
                copy.pivot(k, small, right);
                *this = copy;
                b = right;
            }
            const Real one_over = S(1) / column[k].get(k);
            inverse.set(k, one_over);
            for (int part = 0; part < Column<Real, N>::parts; ++part) column[k].part[part] *= one_over;
            column[k].set(k, Real{});
            CIRCUITNN_UNROLL
            for (int j = k + 1; j < N; ++j) column[j].add(column[k], -column[j].get(k));
            b.add(column[k], -b.get(k));
        }
    }

    // Each row below that has a larger pivot changes places with row k, where that is needed.
    __attribute__((noinline, cold)) void pivot(int k, const Mask& small, Column<Real, N>& b) {
        if (!pivoted)
            for (auto& row : swapped)
                for (auto& mask : row) mask = Mask{};
        pivoted = true;
        for (int row = k + 1; row < N; ++row) {
            const Mask larger = small & (absolute(column[k][row]) > absolute(column[k][k]));
            swapped[k][row] = larger;
            for (int j = k; j < N; ++j) exchange(larger, column[j], k, row);
            exchange(larger, b, k, row);
        }
    }

    static void exchange(const Mask& mask, Column<Real, N>& column, int k, int row) {
        const Real upper = column.get(k), lower = column.get(row);
        column.set(k, select<Real>(mask, lower, upper));
        column.set(row, select<Real>(mask, upper, lower));
    }
};

}  // namespace circuitnn
