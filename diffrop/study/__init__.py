"""What a study is: configuration, search space, objectives, ranking, sampling choices."""
