// The nonlinear system of one sample: Newton's method stage by stage, with its safety net.
#pragma once

#include "layout.hpp"

namespace circuitnn {

struct Options {
    double tolerance = 1e-9;      // last Newton step, relative to 1 + |w| (volt or ampere)
    double remaining = 1e-11;     // what the next step would be, where curvature or contraction bounds it
    int patience = 16;            // iterations of Newton's method as it is,
    int max_iterations = 40;      // and of its line search after them
    int halvings = 3;             // of one step in that search; then it is taken as it is, to leave curved valleys
    double smallest_part = 1e-6;  // the continuation gives up below this part of the step,
    int max_parts = 1000;         // and after so many parts
};

// What a run had to report: iterations in all, samples that needed the continuation, samples that did not converge
// even so, how many samples took 0, 1, 2, ... iterations, and the first failures as (sample, port with the largest
// last step). A sample's iterations are those of its slowest stage.
struct Statistics {
    static constexpr int listed = 8, bins = 16, size = 3 + bins + 2 * listed;
    int64_t iterations = 0, rescues = 0, failures = 0;
    int64_t histogram[bins] = {}, places[2 * listed] = {};

    CIRCUITNN_INLINE void count(int taken) {
        iterations += taken;
        ++histogram[taken < bins ? taken : bins - 1];
    }
    void fail(int64_t sample, int port) {
        if (failures < listed) {
            places[2 * failures] = sample;
            places[2 * failures + 1] = port;
        }
        ++failures;
    }
    void report(int64_t* out) const {
        out[0] = iterations;
        out[1] = failures;
        out[2] = rescues;
        for (int k = 0; k < bins; ++k) out[3 + k] = histogram[k];
        for (int k = 0; k < 2 * listed; ++k) out[3 + bins + k] = places[k];
    }
};

// One stage at one point: voltages and currents of its ports, their Jacobians (one block of columns a device, `widest`
// apart), and the factors of J = P V' + Q I'.
template <class S, class Real>
struct Point {
    static constexpr int n = S::ports, M = S::widest;
    Real v[n], i[n], dv[n * M], di[n * M];
    Factors<n, Real> J;
};

// One point a stage, found by the stage's first port.
template <int port, class Real, class Stages>
struct Points {
    template <int at>
    Points& stage() {
        return *this;
    }
};
template <int port, class Real, class S, class... Rest>
struct Points<port, Real, Sequence<S, Rest...>> : Points<port + S::ports, Real, Sequence<Rest...>> {
    Point<S, Real> own;

    template <int at>
    CIRCUITNN_INLINE auto& stage() {
        if constexpr (at == port)
            return own;
        else
            return Points<port + S::ports, Real, Sequence<Rest...>>::template stage<at>();
    }
};

// The nonlinear system of one sample and its solution.
template <class Circuit, class Real>
struct Solver {
    using L = Layout<Circuit>;
    using Stages = typename Circuit::Stages;
    using Scalar = ScalarOf<Real>;
    using Mask = MaskOf<Real>;
    static constexpr int N = L::N, slots = at_least_one(N), lanes = Traits<Real>::lanes;

    const Numbers<Circuit, Real>& numbers;
    Options options;
    Real w[slots], target[slots];   // last solution, and P v + Q i of its own stage there
    Real v[slots], i[slots];        // port voltages and currents of the solution
    Points<0, Real, Stages> points;  // each stage where it was evaluated last, a negligible step away

    explicit Solver(const Numbers<Circuit, Real>& numbers_, const Options& options_ = {})
        : numbers(numbers_), options(options_) {}

    // Takes w as a solution, and prepares to go on from it.
    void start(const Real* from) {
        for (int k = 0; k < N; ++k) w[k] = from[k];
        Stages::each([&](auto stage, auto port, auto coefficient) {
            using S = decltype(stage);
            constexpr int p = decltype(port)::value;
            auto& point = points.template stage<p>();
            evaluate<S, p, decltype(coefficient)::value>(w + p, point);
            linearise<S, p>(point);
            point.J.factorise();
            const auto left = left_side<S, p>(point);
            for (int k = 0; k < S::ports; ++k) target[p + k] = left.get(k);
        });
    }

    // Everything at a solution that is known: v, i, their Jacobians, those by the coefficients, the factors of J.
    CIRCUITNN_INLINE void differentiate(const Real* at, Real* dv_dc, Real* di_dc) {
        Stages::each([&](auto stage, auto port, auto coefficient) CIRCUITNN_INLINE {
            using S = decltype(stage);
            constexpr int p = decltype(port)::value;
            auto& point = points.template stage<p>();
            S::template each<0, decltype(coefficient)::value>([&](auto law, auto first, auto own) CIRCUITNN_INLINE {
                using Law = decltype(law);
                constexpr int q = decltype(first)::value, c = decltype(own)::value, M = S::widest;
                if constexpr (Law::voltage_is_variable)
                    for (int k = 0; k < Law::ports; ++k) point.v[q + k] = at[p + q + k];
                Law::differentiate(at + p + q, numbers.coefficients + c, point.v + q, point.i + q, point.dv + q * M,
                                   point.di + q * M, M, dv_dc + c * Stages::widest, di_dc + c * Stages::widest);
            });
            for (int k = 0; k < S::ports; ++k) {
                v[p + k] = point.v[k];
                i[p + k] = point.i[k];
            }
            linearise<S, p>(point);
            point.J.factorise();
        });
    }

    // Solves P v + Q i = r for all stages in turn. A lane without solution keeps its last one and is reported.
    CIRCUITNN_INLINE void solve(const Real* r, int64_t sample, Statistics* statistics) {
        Real most{};
        Stages::each([&](auto stage, auto port, auto coefficient) CIRCUITNN_INLINE {
            using S = decltype(stage);
            constexpr int p = decltype(port)::value, c = decltype(coefficient)::value;
            most = maximum(most, solve_stage<S, p, c>(r, sample, statistics));
        });
        for (int lane = 0; lane < lanes; ++lane) statistics[lane].count(int(get_lane(most, lane)));
    }

    // The laws of one stage at its variables `at`.
    template <class S, int p, int c>
    CIRCUITNN_INLINE void evaluate(const Real* at, Point<S, Real>& point) const {
        S::template each<0, c>([&](auto law, auto port, auto coefficient) CIRCUITNN_INLINE {
            using Law = decltype(law);
            constexpr int q = decltype(port)::value, M = S::widest;
            if constexpr (Law::voltage_is_variable)
                for (int k = 0; k < Law::ports; ++k) point.v[q + k] = at[q + k];
            Law::evaluate(at + q, numbers.coefficients + decltype(coefficient)::value, point.v + q, point.i + q,
                          point.dv + q * M, point.di + q * M, M);
        });
    }

    // J = P V' + Q I' of one stage, not yet factorised
    template <class S, int p>
    CIRCUITNN_INLINE void linearise(Point<S, Real>& point) const {
        const auto& coupling = numbers.couplings.template stage<p>();
        S::template each<0, 0>([&](auto law, auto port, auto) CIRCUITNN_INLINE {
            using Law = decltype(law);
            constexpr int q = decltype(port)::value, n = Law::ports, M = S::widest;
            for (int column = 0; column < n; ++column) {
                auto& J = point.J.column[q + column];
                if constexpr (Law::voltage_is_variable && !Circuit::plain)
                    J = coupling.P[p + q + column];
                else
                    J.clear();
                for (int k = 0; k < n; ++k) {
                    if constexpr (!Law::voltage_is_variable && !Circuit::plain)
                        J.add(coupling.P[p + q + k], point.dv[(q + k) * M + column]);
                    J.add(coupling.Q[p + q + k], point.di[(q + k) * M + column]);
                    if constexpr (Law::voltage_is_variable && Circuit::plain) {
                        if (k == column) J.set(q + k, J.get(q + k) + ScalarOf<Real>(1));
                    } else if constexpr (Circuit::plain) {
                        J.set(q + k, J.get(q + k) + point.dv[(q + k) * M + column]);
                    }
                }
            }
        });
    }

    // P v + Q i of the stage's own ports
    template <class S, int p>
    CIRCUITNN_INLINE Column<Real, S::ports> left_side(const Point<S, Real>& point) const {
        const auto& coupling = numbers.couplings.template stage<p>();
        Column<Real, S::ports> left;
        left.clear();
        for (int k = 0; k < S::ports; ++k) {
            if constexpr (!Circuit::plain) left.add(coupling.P[p + k], point.v[k]);
            left.add(coupling.Q[p + k], point.i[k]);
        }
        if constexpr (Circuit::plain)
            for (int k = 0; k < S::ports; ++k) left.set(k, left.get(k) + point.v[k]);
        return left;
    }

    template <class S, int c>
    CIRCUITNN_INLINE void limit(const Real* before, Real* after) const {
        S::template each<0, c>([&](auto law, auto port, auto coefficient) CIRCUITNN_INLINE {
            constexpr int q = decltype(port)::value;
            decltype(law)::limit(before + q, after + q, numbers.coefficients + decltype(coefficient)::value);
        });
    }

    // Newton's method for one stage. `at` is the last point that was evaluated, `at + step` the solution; `settled`
    // lanes stay where they are. A lane that converges is evaluated again at the same point while others go on, so it
    // ends with the same numbers whatever its neighbours do. Returns the lanes that found no solution.
    //
    // Its steps lead downhill, but they may be so long that they jump to and fro for ever, say between the rails of an
    // amplifier. So with `searching`, after the first `plain` steps, one that makes the errors' squares larger is
    // halved (Dennis and Schnabel, "Numerical Methods for Unconstrained Optimization and Nonlinear Equations", 1983,
    // section 6.3).
    template <class S, int p, int c, bool searching>
    CIRCUITNN_INLINE Mask newton(const Real* goal, Real* at, Real* step, Mask settled, Point<S, Real>& point,
                                 Real& iterations, [[maybe_unused]] int plain) const {
        constexpr int n = S::ports;
        const int most = searching ? options.max_iterations : options.patience;
        // What single precision cannot resolve counts as converged.
        constexpr Scalar rounding = sizeof(Scalar) == 8 ? Scalar(0) : Scalar(4e-6);
        const Scalar tolerance = Scalar(options.tolerance) + rounding, enough = Scalar(options.remaining) + rounding;
        const Mask none = settled & negate(settled);
        Mask failed = none;
        Real smooth_before = all_lanes<Real>(1);
        [[maybe_unused]] Real closest[searching ? n : 1] = {}, least{}, halvings{};
        for (int iteration = 1;; ++iteration) {
            Real next[n];
            evaluate<S, p, c>(at, point);
            auto right = left_side<S, p>(point);
            linearise<S, p>(point);
            for (int k = 0; k < n; ++k) right.set(k, goal[k] - right.get(k));
            [[maybe_unused]] Real error{};
            if constexpr (searching)
                for (int k = 0; k < n; ++k) error += right.get(k) * right.get(k);
            point.J.factorise(right);
            for (int k = 0; k < n; ++k) next[k] = at[k] + right.get(k);
            limit<S, c>(at, next);
            Mask converged = negate(none), little = converged, finite = converged;
            Real smooth{};
            S::template each<0, c>([&](auto law, auto port, auto coefficient) CIRCUITNN_INLINE {
                using Law = decltype(law);
                constexpr int q = decltype(port)::value;
                for (int k = 0; k < Law::ports; ++k) {
                    step[q + k] = next[q + k] - at[q + k];
                    const Real size = absolute(step[q + k]), scale = absolute(at[q + k]) + Scalar(1);
                    // Not a number compares false.
                    finite = finite & (size < all_lanes<Real>(Scalar(1e30)));
                    converged = converged & (size < scale * tolerance);
                    // Newton's method squares the error of an exponential: what is left is below slope step^2 / 2.
                    if (Law::slopes[k] >= 0) {
                        const Real slope = numbers.coefficients[decltype(coefficient)::value + Law::slopes[k]];
                        little = little & (size * size * slope < all_lanes<Real>(enough));
                    } else {
                        smooth = maximum<Real>(smooth, size / scale);
                    }
                }
            });
            // Elsewhere the next step is smaller at least by as much as this one was.
            if constexpr (!S::junctions_only) {
                little = little & (smooth * smooth < smooth_before * enough);
                smooth_before = smooth;
            }
            iterations += select<Real>(settled, Real{}, all_lanes<Real>(1));
            const Mask sound = settled | finite;
            failed = failed | negate(sound);
            settled = settled | converged | little | negate(finite);
            if (!any(negate(settled))) return failed;
            if (iteration >= most) return failed | negate(settled);
            if constexpr (searching) {
                const Mask closer = iteration > plain + 1
                                        ? Mask((error <= least) | negate(halvings < Scalar(options.halvings)))
                                        : negate(none);
                halvings = select<Real>(closer, Real{}, halvings + Scalar(1));
                for (int k = 0; k < n; ++k) {
                    next[k] = select<Real>(closer, next[k], (at[k] + closest[k]) * Scalar(0.5));
                    closest[k] = select<Real>(closer, at[k], closest[k]);
                }
                least = select<Real>(closer, error, least);
            }
            for (int k = 0; k < n; ++k) at[k] = select<Real>(settled, at[k], next[k]);
        }
    }

    template <class S, int p, int c>
    CIRCUITNN_INLINE Real solve_stage(const Real* r, int64_t sample, Statistics* statistics) {
        constexpr int n = S::ports;
        Real goal[n], at[n], step[n], iterations{};
        Point<S, Real> point;
        auto& last = points.template stage<p>();
        const auto& coupling = numbers.couplings.template stage<p>();
        Column<Real, n> right;
        right.clear();
        for (int k = 0; k < p; ++k) {
            if constexpr (!Circuit::plain) right.add(coupling.P[k], v[k]);
            right.add(coupling.Q[k], i[k]);
        }
        for (int k = 0; k < n; ++k) goal[k] = r[p + k] - right.get(k);
        // Extrapolate from the last solution with its Jacobian (Holters and Zoelzer 2011).
        for (int k = 0; k < n; ++k) right.set(k, goal[k] - target[p + k]);
        last.J.solve(right);
        for (int k = 0; k < n; ++k) at[k] = w[p + k] + right.get(k);
        limit<S, c>(w + p, at);
        const Mask none = Mask{};
        const Mask failed = newton<S, p, c, false>(goal, at, step, none, point, iterations, 0);
        if (any(failed)) {
            // On copies, so that the usual way stays in registers.
            Attempt<S> attempt{goal, at, step, iterations, point};
            recover<S, p, c>(attempt, failed, sample, statistics);
            iterations = attempt.iterations;
            attempt.copy_to(goal, at, step, point);
        }
        // The last step is too small for its square to matter: carry v and i along to first order.
        S::template each<0, c>([&](auto law, auto port, auto) CIRCUITNN_INLINE {
            using Law = decltype(law);
            constexpr int q = decltype(port)::value, M = S::widest;
            for (int k = 0; k < Law::ports; ++k) {
                Real voltage = point.v[q + k], current = point.i[q + k];
                if constexpr (Law::voltage_is_variable) voltage += step[q + k];
                for (int column = 0; column < Law::ports; ++column) {
                    if constexpr (!Law::voltage_is_variable)
                        voltage += point.dv[(q + k) * M + column] * step[q + column];
                    current += point.di[(q + k) * M + column] * step[q + column];
                }
                v[p + q + k] = voltage;
                i[p + q + k] = current;
            }
        });
        for (int k = 0; k < n; ++k) {
            w[p + k] = at[k] + step[k];
            target[p + k] = goal[k];
        }
        last.J = point.J;
        return iterations;
    }

    // Where Newton's method stands, in memory.
    template <class S>
    struct Attempt {
        Real goal[S::ports], at[S::ports], step[S::ports], iterations{};
        Point<S, Real> point;

        Attempt() = default;
        Attempt(const Real* goal_, const Real* at_, const Real* step_, Real iterations_, const Point<S, Real>& point_)
            : iterations(iterations_), point(point_) {
            for (int k = 0; k < S::ports; ++k) goal[k] = goal_[k], at[k] = at_[k], step[k] = step_[k];
        }
        void copy_to(Real* goal_, Real* at_, Real* step_, Point<S, Real>& point_) const {
            for (int k = 0; k < S::ports; ++k) goal_[k] = goal[k], at_[k] = at[k], step_[k] = step[k];
            point_ = point;
        }
    };

    // Newton's method with its line search, after so many plain steps.
    template <class S, int p, int c>
    __attribute__((noinline, cold)) Mask search(Attempt<S>& attempt, Mask settled, int plain) const {
        return newton<S, p, c, true>(attempt.goal, attempt.at, attempt.step, settled, attempt.point,
                                     attempt.iterations, plain);
    }

    // What to do with lanes without solution: search on, and then the continuation.
    template <class S, int p, int c>
    __attribute__((noinline, cold)) void recover(Attempt<S>& attempt, Mask failed, int64_t sample,
                                                 Statistics* statistics) const {
        failed = search<S, p, c>(attempt, negate(failed), 0);
        if (!any(failed)) return;
        const Mask lost = rescue<S, p, c>(attempt.goal, attempt.at, failed, sample, statistics), none = Mask{};
        search<S, p, c>(attempt, negate(none), 0);
        // A lane that has no solution goes on from where it was, as if that had been asked for.
        const auto left = left_side<S, p>(attempt.point);
        for (int k = 0; k < S::ports; ++k) {
            attempt.step[k] = select<Real>(lost, Real{}, attempt.step[k]);
            attempt.goal[k] = select<Real>(lost, left.get(k), attempt.goal[k]);
        }
    }

    // The continuation for single lanes: `at` becomes the solution, or the last sample's where there is none. Returns
    // the lanes without solution.
    template <class S, int p, int c>
    __attribute__((noinline, cold)) Mask rescue(const Real* goal, Real* at, const Mask& failed, int64_t sample,
                                                Statistics* statistics) const {
        Mask lost = Mask{};
        for (int lane = 0; lane < lanes; ++lane) {
            if (!lane_of(failed, lane)) continue;
            Numbers<Circuit, Scalar> own;
            own.take(numbers, lane);
            Solver<Circuit, Scalar> single(own, options);
            Scalar from[slots] = {}, to[S::ports];
            for (int k = 0; k < S::ports; ++k) {
                single.w[p + k] = get_lane(w[p + k], lane);
                from[k] = get_lane(target[p + k], lane);
                to[k] = get_lane(goal[k], lane);
            }
            const int worst = single.template follow<S, p, c>(from, to);
            ++statistics[lane].rescues;
            if (worst >= 0) {
                statistics[lane].fail(sample, p + worst);
                set_lane_of(lost, lane);
            }
            // What has no solution stays where it was.
            for (int k = 0; k < S::ports; ++k)
                set_lane(at[k], lane, worst >= 0 ? get_lane(w[p + k], lane) : single.w[p + k]);
        }
        return lost;
    }

    // Homotopy: moves the right-hand side of a stage in parts, halved where Newton's method fails. w goes along.
    // Returns -1, or the port with the largest last step if there is no way.
    template <class S, int p, int c>
    __attribute__((noinline, cold)) int follow(const Real* from, const Real* to) {
        constexpr int n = S::ports;
        Attempt<S> attempt;
        double done = 0.0, part = 0.5;
        for (int parts = 1; done < 1.0; ++parts) {
            if (done + part > 1.0) part = 1.0 - done;
            const double goal = done + part;
            for (int k = 0; k < n; ++k) {
                attempt.goal[k] = goal >= 1.0 ? to[k] : from[k] + Real(goal) * (to[k] - from[k]);
                attempt.at[k] = w[p + k];
            }
            if (!search<S, p, c>(attempt, false, options.patience)) {
                for (int k = 0; k < n; ++k) w[p + k] = attempt.at[k] + attempt.step[k];
                done = goal;
                part *= 2.0;
            } else {
                part *= 0.5;
            }
            if (done < 1.0 && (part < options.smallest_part || parts >= options.max_parts)) {
                int worst = 0;
                for (int k = 1; k < n; ++k)
                    if (!(absolute(attempt.step[k]) <= absolute(attempt.step[worst]))) worst = k;
                return worst;
            }
        }
        return -1;
    }

    CIRCUITNN_INLINE Real free_quantity(int k) const {
        const int position = Circuit::free_ports[k];
        return position < N ? v[position] : i[position - N];
    }
};

}  // namespace circuitnn
