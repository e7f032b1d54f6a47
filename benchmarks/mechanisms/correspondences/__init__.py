"""What corresponds: points, pairs of kinds, groups, texts, codes and positives made of features."""
